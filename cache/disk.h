/*
 * Disk tier: one file per key, shared by any number of processes without locks.
 *
 *   DIR/format              "mkfs-mount cache 1\n"; another version is refused
 *   DIR/ab/abcdef....       the block: header (magic, key, length, checksum of
 *                           key and payload), payload
 *
 * A block is written to a temporary file and published by rename, so a reader
 * sees all of it or none. Every load verifies key, length and checksum; a bad
 * block is unlinked, counted and reported as absent: a cache fault is never
 * the reader's fault. When storing fails (ENOSPC, EIO, read-only ...) it is
 * paused for a while and loads go on.
 *
 * Nothing is evicted: when the budget is reached, or the file system has less
 * than a 20th free, no more is stored. What a large cache holds is not counted
 * before it is opened but while blocks are stored, so a budget may be passed by
 * some tens of blocks.
 *
 * DIR is made with mode 0700, and once again if it is removed. Every function
 * may be called from any thread.
 */
#ifndef CACHE_DISK_H
#define CACHE_DISK_H

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct cache_counters;
struct disk_cache;

struct disk_options {
	const char *directory; /* made if it is missing, with its parents */
	uint64_t size; /* budget in bytes; 0: as much as it leaves free */
};

/*
 * Refuses a directory that others may write to (its owner, unless that is root
 * or us, included), that is of another format, or that holds something else,
 * each with a sentence. Nothing in it is deleted.
 */
int disk_cache_open(const struct disk_options *options, struct disk_cache **ret,
		    struct error *err);
void disk_cache_close(struct disk_cache *disk);
DEFINE_AUTO(disk_cache, disk_cache_close);

/* Fills data, exactly size bytes. -ENOENT when absent or not valid. */
int disk_cache_load(struct disk_cache *disk, struct digest key, void *data,
		    size_t size);

/* Best effort: failure costs nothing but a later recomputation. */
void disk_cache_store(struct disk_cache *disk, struct digest key,
		      const void *data, size_t size);

/* Sets the fields of *ret that speak of the disk, and no others. */
void disk_cache_counters(struct disk_cache *disk, struct cache_counters *ret);

#endif
