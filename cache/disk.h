/*
 * Disk tier: one file per key, shared by any number of processes without locks.
 *
 *   DIR/format              "mkfs-mount cache 2\n"; another version is refused
 *   DIR/lock                held by the process that removes old blocks
 *   DIR/ab/cdef....         the block (frame.h), named by its key
 *   DIR/ab/.RANDOM.NUMBER   a block being written, locked by its writer
 *
 * A block is written to a temporary file and published by rename, so a reader
 * sees all of it or none. Every load verifies key, length and checksum; a bad
 * block is unlinked, counted and reported as absent: a cache fault is never
 * the reader's fault. When storing fails (ENOSPC, EIO, read-only ...) it is
 * paused for half a minute and loads go on. room.h says what may be stored and
 * what has to go for it.
 *
 * DIR is made with mode 0700, and once again if it is removed. Every function
 * may be called from any thread.
 */
#ifndef CACHE_DISK_H
#define CACHE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct cache_counters;
struct disk_cache;

struct disk_options {
	const char *directory; /* made if it is missing, with its parents */
	uint64_t size; /* budget in bytes; 0: half of what is free to it */
	uint64_t free; /* bytes to stay free; 0: as in room.h */
	bool look;     /* a directory that is missing is not made: -ENOENT */
};

/*
 * Refuses a directory that others may write to (its owner, unless that is root
 * or us, included), that is of another format, or that holds something else,
 * each with a sentence. Nothing in it is deleted, and it is not looked through.
 */
int disk_cache_open(const struct disk_options *options, struct disk_cache **ret,
		    struct error *err);
void disk_cache_close(struct disk_cache *disk);
DEFINE_AUTO(disk_cache, disk_cache_close);

/* Fills data, exactly size bytes. -ENOENT when absent or not valid. */
int disk_cache_load(struct disk_cache *disk, struct digest key, void *data,
		    size_t size);

/* Is there a file for it? */
bool disk_cache_has(struct disk_cache *disk, struct digest key);

/*
 * Best effort: failure costs nothing but a later recomputation. width: bytes of
 * an element, for the codec. Takes its time; for background threads. 0; -ENOSPC
 * where there is no room; or -EAGAIN where storing has failed or is paused.
 */
int disk_cache_store(struct disk_cache *disk, struct digest key,
		     const void *data, size_t size, unsigned width);

/* Removes what is too much, and what crashes left behind, now. */
void disk_cache_tidy(struct disk_cache *disk);

/* For whole files beside the blocks (whole.h): a descriptor of the directory,
 * whether so many bytes may be put there without anything being removed for
 * them (for background threads), and that they were. */
int disk_cache_directory(const struct disk_cache *disk);
bool disk_cache_fits(struct disk_cache *disk, uint64_t size);
void disk_cache_took(struct disk_cache *disk, uint64_t size);

/* Sets the fields of *ret that speak of the disk, and no others. */
void disk_cache_counters(struct disk_cache *disk, struct cache_counters *ret);

#endif
