/*
 * Marks are found again as they were kept, of their node and piece alone, and
 * take no more memory than blocks may.
 */
#include "merge/engine/marks.h"

#include <string.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "merge/engine/node.h"
#include "tests/unit/check.h"

#define SIZE ((size_t)32 << 10)
#define PIECES 200

static const struct node nodes[] = {
	{.count = PIECES * PIECE - 5, .unit = TILE, .digest = {1, 2}},
	{.count = PIECES * PIECE - 5, .unit = TILE, .digest = {1, 3}},
};

static struct pool *pool;

static struct block_cache *cache_new(size_t memory)
{
	struct block_options options = {.memory = memory, .pool = pool};
	struct block_cache *cache = NULL;

	CHECK(block_cache_new(&options, &cache) == 0);
	return cache;
}

static void keep(struct block_cache *cache, const struct node *node,
		 uint64_t piece, unsigned char byte)
{
	unsigned char data[SIZE];

	memset(data, byte, SIZE);
	marks_keep(cache, node, piece * PIECE, data, SIZE);
}

static bool found(struct marks *marks, const struct node *node, uint64_t first,
		  unsigned char byte)
{
	const unsigned char *data = marks_find(marks, node, first, 512);

	return data && data[0] == byte && data[SIZE - 1] == byte &&
	       marks->piece == first / PIECE * PIECE;
}

static void test_found(void)
{
	AUTO(block_cache) cache = cache_new(SIZE * 2 * PIECES);
	struct marks marks = {.cache = cache};

	keep(cache, &nodes[0], 0, 7);
	keep(cache, &nodes[0], 3, 8);
	keep(cache, &nodes[1], 0, 9);
	CHECK(found(&marks, &nodes[0], 5, 7));
	CHECK(found(&marks, &nodes[0], PIECE - 512, 7));
	CHECK(!marks_find(&marks, &nodes[0], PIECE, 512));
	CHECK(found(&marks, &nodes[0], 4 * PIECE - 512, 8));
	CHECK(found(&marks, &nodes[1], 0, 9));
	CHECK(!marks_find(&marks, &nodes[1], 3 * PIECE, 512));
	marks_done(&marks);
	CHECK(found(&marks, &nodes[0], 0, 7));
	marks_done(&marks);
}

/* The oldest go. */
static void test_budget(void)
{
	AUTO(block_cache) cache = cache_new(SIZE * PIECES / 2);
	struct marks marks = {.cache = cache};
	struct cache_counters counters;

	for (uint64_t piece = 0; piece < PIECES; piece++)
		keep(cache, &nodes[0], piece, (unsigned char)piece);
	CHECK(!marks_find(&marks, &nodes[0], 0, 512));
	CHECK(found(&marks, &nodes[0], (PIECES - 1) * PIECE, PIECES - 1));
	marks_done(&marks);
	block_cache_counters(cache, &counters);
	CHECK(counters.memory <= SIZE * PIECES / 2);
}

/* Those of a piece that was blended go before others. */
static void test_used(void)
{
	AUTO(block_cache) cache = cache_new(SIZE * PIECES / 2);
	struct marks marks = {.cache = cache};
	uint64_t at = 0;

	keep(cache, &nodes[0], 0, 1);
	keep(cache, &nodes[0], 1, 2);
	for (; at < 2 * PIECE - TILE; at += TILE)
		CHECK(marks_find(&marks, &nodes[0], at, TILE));
	marks_done(&marks);
	for (uint64_t piece = 2; piece <= PIECES / 2; piece++)
		keep(cache, &nodes[0], piece, 3);
	CHECK(!marks_find(&marks, &nodes[0], 0, TILE));
	CHECK(found(&marks, &nodes[0], PIECE, 2));
	marks_done(&marks);
}

int main(void)
{
	CHECK(pool_new(1, &pool) == 0);
	test_found();
	test_budget();
	test_used();
	pool_free(pool);
	return 0;
}
