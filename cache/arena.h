/*
 * Buffers of BLOCK_SIZE bytes, used over and over: first touching fresh memory
 * costs as much as computing a block, so they are cut from large chunks, with
 * huge pages where there are any, and kept when they are given back.
 *
 * A buffer that nobody uses is ready, having memory, or bare, having none.
 *
 * No thread safety: the caller locks.
 */
#ifndef CACHE_ARENA_H
#define CACHE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {		      /* zeroed is empty */
	void **ready, **bare; /* (n_ready,) (n_bare,) stacks; owned */
	size_t n_ready, n_bare;
	size_t n_buffers;	    /* used ones included */
	struct arena_chunk *chunks; /* owned; all memory there is */
};

/* A buffer with garbage in it, or NULL when memory is out: a ready one if there
 * is one, but for arena_get_bare(). */
void *arena_get(struct arena *arena);
void *arena_get_bare(struct arena *arena);

/* Gives a buffer back, which is ready then. */
void arena_put(struct arena *arena, void *buffer);

/* Makes ready buffers bare until so many are left. */
void arena_trim(struct arena *arena, size_t n_ready);

/* Gives all memory back; no buffer may be in use. */
void arena_done(struct arena *arena);

#endif
