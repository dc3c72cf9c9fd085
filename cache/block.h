/*
 * Block cache: finished blocks of bytes, in memory within a budget and, behind
 * it, on disk (disk.h).
 *
 * A key names its content for ever, so nothing is ever invalidated; what a
 * block means is the caller's business. When several readers want a missing
 * block, one fill runs and all of them are told when it is done.
 *
 * A fill runs as a pool task: first the disk tier is asked, then the fill
 * function is called, then the block goes to disk behind the readers' backs
 * (behind.h).
 *
 * Not here: what to fetch ahead, and what tensors are.
 * Every function may be called from any thread unless it says otherwise.
 */
#ifndef CACHE_BLOCK_H
#define CACHE_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/hash.h"
#include "util/macros.h"
#include "util/pool.h"

#define BLOCK_SIZE ((size_t)1 << 20) /* the largest block, in bytes */

/*
 * Threads that load from disk, which mostly wait for it: with as many large
 * requests at once a disk is as fast as in one piece; with more some are
 * slower.
 */
#define BLOCK_LOADING 4

struct cache_counters;
struct disk_cache;
struct block_cache; /* owns every block it has handed out */

struct block { /* immutable once handed out */
	const void *data;
	size_t size;
};

/*
 * Computes `size` bytes into `data`, which has garbage in it. Runs on a worker
 * of the pool, or a thread of low priority, with no cache lock held, so it may
 * want other blocks or join loops. Returns 0 or a negative errno, which is
 * reported to every waiter and then forgotten, so that the next reader tries
 * again.
 */
typedef int block_fill_fn(void *arg, uint64_t number, void *data, size_t size);

struct block_request {
	struct digest key;
	size_t size; /* in bytes, 1 .. BLOCK_SIZE */
	block_fill_fn *fill;
	void *arg;	 /* must live as long as the cache */
	uint64_t number; /* passed to fill */
	unsigned width;	 /* of an element in bytes; 0 or 1: just bytes */
	bool keep;	 /* worth a place on disk */
	enum pool_priority priority;
};

/* Embedded in its owner; valid until done() has been called. */
struct block_waiter {
	/*
	 * Called exactly once: with r = 0 and a block pinned for this waiter
	 * (block_put() it), or with a negative errno and NULL. Runs on the
	 * thread that finished the block, or inside block_want() when the block
	 * is there already; must not block.
	 */
	void (*done)(struct block_waiter *waiter, int r,
		     const struct block *block);
	struct block_waiter *next; /* the cache's */
};

struct block_options {
	/* Budget in bytes for blocks; pinned ones may exceed it. Blocks that
	 * readers have had (block_had()) take 8 MiB of it at most. */
	size_t memory;
	struct pool *pool;	 /* borrowed, outlives the cache's last fill */
	struct disk_cache *disk; /* borrowed; NULL: memory only */
	unsigned n_storing;	 /* threads that store; 0: one */
};

int block_cache_new(const struct block_options *options,
		    struct block_cache **ret);

/*
 * Waits for running fills and writes; fills that have not begun are dropped.
 * Every waiter must have been told, and every block put.
 */
void block_cache_free(struct block_cache *cache);
DEFINE_AUTO(block_cache, block_cache_free);

/*
 * The block, pinned, if it is in memory; else NULL and nothing happens. Takes
 * only a short lock: fit for the thread that parses requests.
 */
const struct block *block_peek(struct block_cache *cache, struct digest key);

/* Asks for a block; waiter may be NULL to fetch ahead. */
void block_want(struct block_cache *cache, const struct block_request *request,
		struct block_waiter *waiter);

/*
 * block_want() and wait. Not from a pool worker. On failure *ret is untouched
 * and the errno is fill's own or -ENOMEM.
 */
int block_get(struct block_cache *cache, const struct block_request *request,
	      const struct block **ret);

/*
 * For a fill that stands on other blocks: the block, pinned, filled on this
 * thread if nobody has begun with it, without a look at the disk. -EBUSY when
 * another thread is about to fill it: then the caller does best to compute what
 * it needs itself, as a fill that waits for another may idle or deadlock. arg
 * need only live for the call.
 */
int block_try(struct block_cache *cache, const struct block_request *request,
	      const struct block **ret);

/* Sees to it that a block, which the caller has pinned, is on disk or on its
 * way there, where there is a place for it. request: what it was asked for by;
 * its `keep` counts, not that of others. Looks at the disk. */
void block_store(struct block_cache *cache, const struct block_request *request,
		 const struct block *block);

void block_put(struct block_cache *cache, const struct block *block);

/* The same for a reader that has had so many bytes of it. Once they are as many
 * as it has, they are in the page cache, and it is among the first to go. */
void block_had(struct block_cache *cache, const struct block *block,
	       size_t size);

/*
 * Small results beside the blocks, named by their content as well: what was
 * kept, exactly size bytes, else -ENOENT; and to keep some (a copy is made).
 * Any size, but these are copied and not held in memory.
 */
int block_load(struct block_cache *cache, struct digest key, void *data,
	       size_t size);
void block_keep(struct block_cache *cache, struct digest key, const void *data,
		size_t size);

/* Bytes of blocks that can be made now and find a place to wait in until they
 * are stored; SIZE_MAX where nothing is. */
size_t block_cache_place(struct block_cache *cache);

/* A snapshot; the disk tier's part included. */
void block_cache_counters(struct block_cache *cache,
			  struct cache_counters *ret);

#endif
