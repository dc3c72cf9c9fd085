#include "cache/memory.h"

#include <string.h>

#include "tests/unit/check.h"

#define N 8 /* blocks in the budget */
#define SMALL (BLOCK_SIZE / 2)

/* Buffers that are kept are part of what the budget bounds. */
static void test_kept(void)
{
	struct memory memory = {.budget = N * BLOCK_SIZE};
	void *large[N], *small[2 * N];

	for (unsigned i = 0; i < N; i++) {
		large[i] = memory_buffer(&memory, BLOCK_SIZE);
		CHECK(large[i]);
		memset(large[i], 1, BLOCK_SIZE);
	}
	for (unsigned i = 0; i < N; i++)
		memory_return(&memory, large[i], BLOCK_SIZE);
	CHECK(memory.size == 0 && memory.arena.n_ready == N);

	for (unsigned i = 0; i < 2 * N; i++) {
		small[i] = memory_buffer(&memory, SMALL);
		CHECK(small[i]);
		CHECK(memory.size + memory.arena.n_ready * BLOCK_SIZE <=
		      memory.budget);
	}
	CHECK(memory.size == memory.budget && memory.arena.n_ready == 0);
	for (unsigned i = 0; i < 2 * N; i++)
		memory_return(&memory, small[i], SMALL);

	/* Those that are bare have no memory left. */
	unsigned char *again = memory_buffer(&memory, BLOCK_SIZE);
	CHECK(again && again[0] == 0 && again[BLOCK_SIZE - 1] == 0);
	memory_return(&memory, again, BLOCK_SIZE);
	memory_done(&memory);
}

/* More than the budget, being in use, is not kept. */
static void test_too_many(void)
{
	struct memory memory = {.budget = N * BLOCK_SIZE};
	void *large[2 * N];

	for (unsigned i = 0; i < 2 * N; i++)
		large[i] = memory_buffer(&memory, BLOCK_SIZE);
	for (unsigned i = 0; i < 2 * N; i++)
		memory_return(&memory, large[i], BLOCK_SIZE);
	CHECK(memory.arena.n_ready == N);
	memory_done(&memory);
}

static void test_ahead(void)
{
	struct memory memory = {.budget = N * BLOCK_SIZE};
	unsigned n = 0;

	for (void *data; (data = memory_ahead(&memory)); n++) {
		CHECK(!memory_ahead(&memory)); /* one at a time */
		memory_touched(&memory, data);
	}
	CHECK(n > 0 && n < N && memory.arena.n_ready == n);
	CHECK(memory.size == 0);

	/* The buffers that follow are these. */
	void *data[N];
	for (unsigned i = 0; i < N - 1; i++)
		data[i] = memory_buffer(&memory, BLOCK_SIZE);
	CHECK(memory.arena.n_ready == 0);
	/* No room but for one. */
	void *ahead = memory_ahead(&memory);
	CHECK(ahead);
	memory_touched(&memory, ahead);
	CHECK(!memory_ahead(&memory));
	data[N - 1] = memory_buffer(&memory, BLOCK_SIZE);
	CHECK(data[N - 1] == ahead && !memory_ahead(&memory));
	for (unsigned i = 0; i < N; i++)
		memory_return(&memory, data[i], BLOCK_SIZE);
	memory_done(&memory);
}

int main(void)
{
	test_kept();
	test_too_many();
	test_ahead();
	return 0;
}
