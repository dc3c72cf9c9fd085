#include "cache/arena.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "cache/block.h"

#define CHUNK_BLOCKS ((size_t)32)
#define CHUNK_SIZE (CHUNK_BLOCKS * BLOCK_SIZE)

struct arena_chunk {
	struct arena_chunk *next;
	char *map;
};

/* Room for all buffers on either stack, so that giving back cannot fail. */
static int grow_stack(void ***stack, size_t n)
{
	void **grown = realloc(*stack, n * sizeof(*grown));

	if (!grown)
		return -1;
	*stack = grown;
	return 0;
}

static void add_chunk(struct arena *arena)
{
	size_t n = arena->n_buffers + CHUNK_BLOCKS;
	struct arena_chunk *chunk = calloc(1, sizeof(*chunk));

	if (!chunk || grow_stack(&arena->ready, n) < 0 ||
	    grow_stack(&arena->bare, n) < 0) {
		free(chunk);
		return;
	}
	chunk->map = mmap(NULL, CHUNK_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (chunk->map == MAP_FAILED) {
		free(chunk);
		return;
	}
	madvise(chunk->map, CHUNK_SIZE, MADV_HUGEPAGE);
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	arena->n_buffers = n;
	/* Neighbours, which may share a huge page, one after the other. */
	for (size_t i = CHUNK_BLOCKS; i > 0; i--)
		arena->bare[arena->n_bare++] =
			chunk->map + (i - 1) * BLOCK_SIZE;
}

void *arena_get(struct arena *arena)
{
	return arena->n_ready > 0 ? arena->ready[--arena->n_ready]
				  : arena_get_bare(arena);
}

void *arena_get_bare(struct arena *arena)
{
	if (arena->n_bare == 0)
		add_chunk(arena);
	return arena->n_bare > 0 ? arena->bare[--arena->n_bare] : NULL;
}

void arena_put(struct arena *arena, void *buffer)
{
	arena->ready[arena->n_ready++] = buffer;
}

void arena_trim(struct arena *arena, size_t n_ready)
{
	while (arena->n_ready > n_ready) {
		void *buffer = arena->ready[--arena->n_ready];
		madvise(buffer, BLOCK_SIZE, MADV_DONTNEED);
		arena->bare[arena->n_bare++] = buffer;
	}
}

void arena_done(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;
		arena->chunks = chunk->next;
		munmap(chunk->map, CHUNK_SIZE);
		free(chunk);
	}
	free(arena->ready);
	free(arena->bare);
	*arena = (struct arena){0};
}
