/*
 * Values of any size in the disk tier: a head block, which says how long the
 * value is and bears a checksum of all of it, and pieces of BLOCK_SIZE under
 * keys that follow from the head's.
 *
 * Pieces are removed like all blocks, each for itself: a value of which
 * anything is missing or not as it was stored is absent.
 */
#ifndef CACHE_VALUE_H
#define CACHE_VALUE_H

#include <stddef.h>

#include "util/hash.h"

struct disk_cache;

/* Longer values are neither stored nor believed. */
#define VALUE_MOST ((size_t)1 << 30)

/* *ret, malloc'ed, has a NUL behind its *ret_size bytes. -ENOENT when the value
 * is absent; -ENOMEM. */
int value_load(struct disk_cache *disk, struct digest key, char **ret,
	       size_t *ret_size);

/* Best effort, like disk_cache_store(). */
void value_store(struct disk_cache *disk, struct digest key, const char *data,
		 size_t size);

#endif
