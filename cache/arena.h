/*
 * Buffers of BLOCK_SIZE bytes, used over and over: first touching fresh memory
 * costs as much as computing a block, so they are cut from large chunks, with
 * huge pages where there are any, and go back to a free list.
 *
 * No thread safety: the caller locks.
 */
#ifndef CACHE_ARENA_H
#define CACHE_ARENA_H

struct arena_chunk;
struct arena_spare;

struct arena {			    /* zeroed is empty */
	struct arena_spare *spares; /* given back; the last one goes first */
	struct arena_chunk *chunks; /* owned; all memory there is */
};

/* A buffer with garbage in it, or NULL when memory is out. */
void *arena_get(struct arena *arena);
void arena_put(struct arena *arena, void *buffer);

/* Gives all memory back; no buffer may be in use. */
void arena_done(struct arena *arena);

#endif
