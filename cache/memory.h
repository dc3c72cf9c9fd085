/*
 * The memory tier: blocks by key, those that are being filled included, within
 * a budget. What nobody has pinned lies in one of two lists, by whether readers
 * had it, and goes when there is too much.
 *
 * Between block.c and memory.c; no thread safety: the caller locks.
 */
#ifndef CACHE_MEMORY_H
#define CACHE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cache/arena.h"
#include "cache/block.h"
#include "cache/lru.h"
#include "util/hash.h"

/* Keys are digests, so any part of one is a hash already. */
#define HASH_FUNCTION(key, length, hash)                                \
	do {                                                            \
		(void)(length);                                         \
		(hash) = (unsigned)((const struct digest *)(key))->low; \
	} while (0)
#define HASH_NONFATAL_OOM 1 /* else uthash ends the process */
#include <uthash.h>

enum entry_state {
	ENTRY_QUEUED, /* its fill has not begun */
	ENTRY_FILLING,
	ENTRY_READY,
	ENTRY_GONE, /* out of the table; its last task frees it */
};

struct entry {
	struct block block; /* first: a block is its entry */
	UT_hash_handle hh;
	struct digest key;
	enum entry_state state;
	unsigned n_pins;     /* of a ready entry; 0: in the LRU list */
	unsigned n_tasks;    /* fill tasks submitted and not yet run */
	bool loading;	     /* the disk tier has not answered yet */
	size_t had;	     /* bytes, by readers */
	bool storing;	     /* on its way to disk */
	struct lru_item lru; /* while it is ready and not pinned */
	struct block_waiter *waiters;
	struct block_request request;
};

struct memory {		       /* zeroed but for the budget is empty */
	size_t budget;	       /* bytes; what is pinned may exceed it */
	size_t size;	       /* bytes of all buffers */
	struct entry *entries; /* hash table by key */
	struct lru ahead, had; /* unpinned: still to be read, and had */
	struct arena arena;    /* of blocks of BLOCK_SIZE */
	bool touching;	       /* some thread has what memory_ahead() gave */
};

/* Frees all entries, which must have no tasks, and all buffers. */
void memory_done(struct memory *memory);

/* NULL if there is none. */
struct entry *memory_find(const struct memory *memory, struct digest key);

/* A new entry in the table, queued; NULL when memory is out. */
struct entry *memory_add(struct memory *memory,
			 const struct block_request *request);

/* Takes an entry out of the table. Tasks that were overtaken may still know it;
 * the last of them frees it. */
void memory_remove(struct memory *memory, struct entry *entry);

/* A buffer for a block, for which room is made first, so that the budget covers
 * running fills; NULL when memory is out. */
void *memory_buffer(struct memory *memory, size_t size);
void memory_return(struct memory *memory, void *data, size_t size);

/*
 * A buffer of BLOCK_SIZE to be touched and handed to memory_touched(), both
 * without the lock in between, so that a fill finds one with memory in it; NULL
 * where there are enough, the budget has no room, or another thread is at it.
 */
void *memory_ahead(struct memory *memory);
void memory_touched(struct memory *memory, void *data);

/* Of a ready entry: keeps it for a reader, and no more. */
void memory_pin(struct memory *memory, struct entry *entry);
void memory_unpin(struct memory *memory, struct entry *entry);

/* A fill has ended: a ready entry that nobody has pinned may go from now on. */
void memory_settle(struct memory *memory, struct entry *entry);

#endif
