/*
 * Marks: what the scan of a piece has found out of its elements, and what their
 * blend would have to find out again (method.h). They are blocks of the block
 * cache, in memory alone: where they are gone, blends do without.
 *
 * marks_keep() may be called from any thread; the others by one for its own.
 */
#ifndef MERGE_ENGINE_MARKS_H
#define MERGE_ENGINE_MARKS_H

#include <stddef.h>
#include <stdint.h>

struct block;
struct block_cache;
struct node;

/* The marks that a thread has at hand; zeroed but for the cache are none. */
struct marks {
	struct block_cache *cache;
	const struct node *node;   /* whose piece it is of; NULL: none */
	uint64_t piece;		   /* its first element */
	uint64_t size, used;	   /* its elements, and those asked for */
	const struct block *block; /* pinned; NULL: gone */
};

/* Of the piece that begins with element `piece`; copied. */
void marks_keep(struct block_cache *cache, const struct node *node,
		uint64_t piece, const void *data, size_t size);

/* Of the piece of elements [first, first + n), until others are asked for; NULL
 * where there are none. */
const void *marks_find(struct marks *marks, const struct node *node,
		       uint64_t first, uint64_t n);

void marks_done(struct marks *marks);

#endif
