/*
 * Storing behind the readers' backs: threads of low priority that write blocks
 * to the disk tier.
 *
 * What waits is bounded. A block that finds no place is not waited for: its
 * request is remembered and the block made once more when nobody has read for a
 * moment, so that a cold read at full speed still leaves a whole cache behind.
 *
 * Every function may be called from any thread unless it says otherwise.
 */
#ifndef CACHE_BEHIND_H
#define CACHE_BEHIND_H

#include <stdbool.h>
#include <stddef.h>

#include "util/hash.h"
#include "util/macros.h"

struct behind;
struct block_request;
struct disk_cache;

/* Embedded in its owner; must stay valid until done() has been called. */
struct behind_item {
	struct digest key;
	const void *data;
	size_t size;
	unsigned width; /* of an element, in bytes */

	/* Called once, on a thread of low priority, with what storing returned;
	 * must not block. */
	void (*done)(struct behind_item *item, int r);
	struct behind_item *next; /* ours */
};

/* most: bytes that may wait. n_threads is at least 1; disk is borrowed. */
int behind_new(struct disk_cache *disk, unsigned n_threads, size_t most,
	       struct behind **ret);

/* Stores what waits, forgets what is to be made again. */
void behind_free(struct behind *behind);
DEFINE_AUTO(behind, behind_free);

/* False when too much waits already; then done() is not called. */
bool behind_store(struct behind *behind, struct behind_item *item);

/* Stores a copy of some bytes, at most BLOCK_SIZE; forgets them where there is
 * no place. */
void behind_copy(struct behind *behind, struct digest key, const void *data,
		 size_t size);

/* Remembers a block to be filled again and stored; its fill's arg must live
 * until behind_free(). Forgotten where there are too many. */
void behind_later(struct behind *behind, const struct block_request *request);

/* A reader is at work: nothing is made again for the next second. */
void behind_yield(struct behind *behind);

/* Bytes that wait, and bytes that may wait beside them. */
size_t behind_waiting(struct behind *behind);
size_t behind_place(struct behind *behind);

#endif
