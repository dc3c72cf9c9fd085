/*
 * Whole files in a cache directory: bytes that were put together from blocks,
 * as they are, so that the kernel can be pointed at them (FUSE passthrough).
 *
 *   DIR/ab/cdef....file     named by a key, as blocks are; counted in the same
 *                           budget, and removed for room as they are
 *
 * A file is written under a temporary name, brought to the disk, renamed, and
 * then known by its mark, which is kept as a block: inode, size and times, so
 * that one that anything has touched since is not opened again, and a checksum,
 * which no reader verifies but whole_matches() does. Descriptors of it stay
 * good when it is removed.
 *
 * Every function may be called from any thread; a struct whole is its maker's.
 */
#ifndef CACHE_WHOLE_H
#define CACHE_WHOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "util/hash.h"
#include "util/macros.h"

struct disk_cache;
struct whole; /* being written */

struct whole_mark {
	uint64_t size, inode;
	int64_t mtime, mtime_nsec, ctime, ctime_nsec;
	struct digest content;
};

/* Key of the block that holds the mark of a file. */
struct digest whole_mark_key(struct digest key);

/* Reads all of the file: are these the marked bytes? */
bool whole_matches(const struct whole_mark *mark, int fd);

/* A descriptor of the caller's, for reading; or -ENOENT. */
int whole_open(struct disk_cache *disk, struct digest key, uint64_t size);

/* Says that it was opened, for whoever looks for what is used least; for
 * background threads. */
void whole_note_use(struct disk_cache *disk, struct digest key, uint64_t size);

/* -ENOSPC where there is no room for it without removing anything else. */
int whole_begin(struct disk_cache *disk, struct digest key, uint64_t size,
		struct whole **ret);

/* Where its bytes are to be written, from 0 to its size. */
int whole_fd(const struct whole *whole);

/* Makes it known. Then, and otherwise, it is freed, which removes what was not
 * made known. */
int whole_publish(struct whole *whole);
void whole_free(struct whole *whole);
DEFINE_AUTO(whole, whole_free);

#endif
