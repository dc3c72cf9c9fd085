/*
 * A block as it lies on disk: a header, then the payload, raw or encoded
 * (codec.h). The header says which block it is and bears a checksum of itself
 * and the payload, so that whatever passes frame_open() is what was sealed.
 *
 * In the machine's byte order: a cache does not travel between kinds of
 * machines, and a foreign header fails its check. What an older program cannot
 * decode it takes for damaged, and makes again; what it would decode to other
 * bytes needs another version of the cache's directory (directory.h).
 */
#ifndef CACHE_FRAME_H
#define CACHE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "util/hash.h"

struct codec;

struct frame_header {
	char magic[8];
	uint64_t key_high, key_low;
	uint32_t size;		    /* of the block, as readers get it */
	uint32_t stored;	    /* of the payload */
	uint32_t codec;		    /* 0: raw, 1: codec.h */
	uint32_t width;		    /* of an element, for the codec */
	uint64_t sum_high, sum_low; /* of the fields above and the payload */
};

struct frame {
	struct frame_header header;
	const void *payload; /* (header.stored,) in the codec or the block */
};

/* Encodes where that wins, and seals. size: 1 .. BLOCK_SIZE. */
void frame_seal(struct codec *codec, struct digest key, const void *data,
		size_t size, unsigned width, struct frame *ret);

/* Does the header promise block `key` in a file of file_size bytes? */
int frame_check(const struct frame_header *header, struct digest key,
		uint64_t file_size);

/*
 * The block's bytes, exactly size, from a header that passed frame_check() and
 * its payload. -EBADMSG when anything is not as it was sealed; then data has
 * garbage in it.
 */
int frame_open(struct codec *codec, const struct frame_header *header,
	       const void *payload, void *data, size_t size);

#endif
