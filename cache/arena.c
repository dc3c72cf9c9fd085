#include "cache/arena.h"

#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cache/block.h"

#define CHUNK_BLOCKS ((size_t)32)
#define CHUNK_SIZE (CHUNK_BLOCKS * BLOCK_SIZE)

struct arena_spare { /* lies in the buffer itself */
	struct arena_spare *next;
};

struct arena_chunk {
	struct arena_chunk *next;
	char *map;
	size_t n_cut; /* buffers cut from it so far */
};

static struct arena_chunk *chunk_new(void)
{
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk));
	if (!chunk)
		return NULL;
	chunk->map = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk->map == MAP_FAILED) {
		free(chunk);
		return NULL;
	}
	madvise(chunk->map, CHUNK_SIZE, MADV_HUGEPAGE);
	return chunk;
}

void *arena_get(struct arena *arena)
{
	struct arena_spare *spare = arena->spares;
	if (spare) {
		arena->spares = spare->next;
		return spare;
	}

	/* Cut one by one: what has not been cut takes no memory yet. */
	struct arena_chunk *chunk = arena->chunks;
	if (!chunk || chunk->n_cut == CHUNK_BLOCKS) {
		chunk = chunk_new();
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	return chunk->map + chunk->n_cut++ * BLOCK_SIZE;
}

void arena_put(struct arena *arena, void *buffer)
{
	struct arena_spare *spare = buffer;

	spare->next = arena->spares;
	arena->spares = spare;
}

void arena_done(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;
		arena->chunks = chunk->next;
		munmap(chunk->map, CHUNK_SIZE);
		free(chunk);
	}
	arena->spares = NULL;
}
