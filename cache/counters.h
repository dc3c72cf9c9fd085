/*
 * What the cache has done since it was opened, in one struct: counts of blocks
 * and of bytes, and what it holds at this moment. block_cache_counters() takes
 * the snapshot, from any thread, cheaply enough for every second.
 *
 * A reader's question for a block is answered in one of four ways: at once from
 * memory (hits), by joining a fill that runs (waits), from disk (loaded), or by
 * computing (computed). Fields are never negative and never go back, but for
 * those marked "now".
 */
#ifndef CACHE_COUNTERS_H
#define CACHE_COUNTERS_H

#include <stdint.h>

struct cache_counters {
	/* Asked for; blocks. misses: a fill was begun, by a reader or ahead. */
	uint64_t hits, waits, misses;

	/* How fills ended; blocks, and bytes as readers get them; and what the
	 * engine keeps for itself in blocks (stages, marks). */
	uint64_t computed, failed;
	uint64_t bytes_computed;

	/* From disk. verified: read and found right, which every block that is
	 * loaded was; dropped: read, found wrong and removed. absent: asked of
	 * the disk, not there. */
	uint64_t loaded, verified, dropped, absent;
	uint64_t bytes_loaded;	    /* as readers get them */
	uint64_t bytes_loaded_disk; /* as they lie on disk, headers included */

	/* To disk. skipped: the writers were busy, to be stored later where
	 * they can; refused: no room by budget, free space or inodes, or
	 * storing is paused after a failure; store_failed: an error. */
	uint64_t stored, skipped, refused, store_failed;
	uint64_t bytes_stored, bytes_stored_disk;

	/* Removed for room, by this process. */
	uint64_t evicted, bytes_evicted;

	/* Now, in bytes: blocks in memory, running fills included; the part of
	 * them that waits to be stored; on disk, as far as this process knows,
	 * and the budget for it (both 0 without a disk cache). */
	uint64_t memory, waiting, used, budget;
	uint64_t paused; /* now: seconds until storing is tried again */
};

#endif
