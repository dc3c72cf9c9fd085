/*
 * Room on disk: how much the cache may take, and who has to go.
 *
 * Three bounds: a budget of bytes, bytes that stay free on the file system, and
 * a twentieth of its inodes. When one is near, the blocks that have not been
 * used for the longest time go, until a tenth of the budget is free again. When
 * a block was used is its file's mtime, to a minute.
 *
 * Any number of processes share a directory without talking to each other: each
 * counts what it stores itself, and looks through the directory, where every
 * block of everyone is, once that might make a difference. One at a time
 * removes blocks (a lock file says who); nobody waits for it.
 *
 * Every function may be called from any thread.
 */
#ifndef CACHE_ROOM_H
#define CACHE_ROOM_H

#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

struct cache_counters;
struct room;

struct room_options {
	int dir;       /* descriptor of the cache directory; borrowed */
	uint64_t size; /* budget in bytes; 0: half of what is free to it */
	uint64_t free; /* bytes that stay free; 0: a 20th of the file system,
			  at most 20 * 10^9 */
};

int room_new(const struct room_options *options, struct room **ret);
void room_free(struct room *room);
DEFINE_AUTO(room, room_free);

/*
 * May `size` bytes more be stored? Looks through the directory and removes
 * blocks if that is due, which may take seconds: for background threads.
 */
bool room_make(struct room *room, uint64_t size);

/* Likewise, but nothing is removed for it. */
bool room_fits(struct room *room, uint64_t size);

/* They were. */
void room_took(struct room *room, uint64_t size);

/* Looks through the directory and removes what is too much, now. */
void room_tidy(struct room *room);

/* The directory was replaced: nothing is known of it. */
void room_forget(struct room *room);

/* Sets evicted, bytes_evicted, used, budget. */
void room_counters(struct room *room, struct cache_counters *ret);

#endif
