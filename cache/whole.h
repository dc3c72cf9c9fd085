/*
 * Whole files in a cache directory: bytes that were put together from blocks,
 * as they are, so that the kernel can be pointed at them (FUSE passthrough).
 *
 *   DIR/ab/cdef....file     named by a key, as blocks are; counted in the same
 *                           budget, and removed for room as they are
 *   DIR/ab/cdef....mark     its mark, which goes with it
 *
 * A file is written under a temporary name, brought to the disk, renamed, and
 * then known by its mark: inode, size and times, so that one that anything has
 * touched since is not opened again, and a checksum, which no reader verifies
 * but whole_verify() does. When it was used last is the mark's mtime.
 * Descriptors of it stay good when it is removed.
 *
 * Every function may be called from any thread; a struct whole is its maker's.
 */
#ifndef CACHE_WHOLE_H
#define CACHE_WHOLE_H

#include <stddef.h>
#include <stdint.h>

#include "util/hash.h"
#include "util/macros.h"

struct disk_cache;
struct whole; /* being written */

/* Reads all of the file: 0, -EBADMSG if these are not the marked bytes,
 * -ENODATA if it has no mark, -ENOENT if it is not there. dir: of the cache. */
int whole_verify(int dir, struct digest key);

/* A descriptor of the caller's, for reading; or -ENOENT. */
int whole_open(struct disk_cache *disk, struct digest key, uint64_t size);

/* Says that it is in use, for whoever looks for what is used least. */
void whole_note_use(struct disk_cache *disk, struct digest key);

/* -EBUSY while another makes it, in whatever process; -ENOSPC where there is
 * no room for it without removing anything else. */
int whole_begin(struct disk_cache *disk, struct digest key, uint64_t size,
		struct whole **ret);

/* Appends bytes; now and then it waits until they are on the disk. */
int whole_write(struct whole *whole, const void *data, size_t size);

/* Appends bytes of another file, at most BLOCK_SIZE, which take no room of
 * their own where the file system can share them. */
int whole_copy(struct whole *whole, int fd, uint64_t offset, size_t size);

/* Makes it known. Then, and otherwise, it is freed, which removes what was not
 * made known. */
int whole_publish(struct whole *whole);
void whole_free(struct whole *whole);
DEFINE_AUTO(whole, whole_free);

#endif
