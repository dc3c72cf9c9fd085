/*
 * The memory tier: one fill for many readers, pins, budget, failures, and what
 * is written behind.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "tests/unit/check.h"

static char folder[] = "/tmp/test-block-XXXXXX";

struct source { /* what fills are asked of */
	atomic_uint n_fills;
	atomic_int failing; /* errno to fail with, or 0 */
	atomic_bool held;   /* fills wait while it is set */
	uint64_t order[20]; /* numbers of the first fills */
};

static int fill(void *arg, uint64_t number, void *data, size_t size)
{
	struct source *source = arg;

	unsigned i = atomic_fetch_add(&source->n_fills, 1);
	if (i < ARRAY_SIZE(source->order))
		source->order[i] = number;
	while (atomic_load(&source->held))
		usleep(100);
	int r = atomic_load(&source->failing);
	if (r < 0)
		return r;
	memset(data, (int)number, size);
	return 0;
}

struct world {
	struct source source;
	struct pool *pool;
	struct block_cache *cache;
};

static void open_world(struct world *world, unsigned n_threads, size_t memory,
		       struct disk_cache *disk)
{
	*world = (struct world){0};
	CHECK(pool_new(n_threads, &world->pool) == 0);
	struct block_options options = {
		.memory = memory,
		.pool = world->pool,
		.disk = disk,
	};
	CHECK(block_cache_new(&options, &world->cache) == 0);
}

static void close_world(struct world *world)
{
	block_cache_free(world->cache);
	pool_free(world->pool);
}

static struct block_request request_of(struct world *world, uint64_t number,
				       size_t size)
{
	return (struct block_request){
		.key = {number, ~number},
		.size = size,
		.fill = fill,
		.arg = &world->source,
		.number = number,
		.keep = true,
	};
}

static void get(struct world *world, uint64_t number, size_t size,
		const struct block **ret)
{
	struct block_request request = request_of(world, number, size);
	const struct block *block = NULL;

	CHECK(block_get(world->cache, &request, &block) == 0);
	CHECK(block->size == size);
	const unsigned char *data = block->data;
	CHECK(data[0] == (unsigned char)number &&
	      data[size - 1] == (unsigned char)number);
	if (ret)
		*ret = block;
	else
		block_put(world->cache, block);
}

struct waiter {
	struct block_waiter waiter;
	struct block_cache *cache;
	atomic_uint *n_done;
	int wanted; /* result */
};

static void waiter_done(struct block_waiter *base, int r,
			const struct block *block)
{
	struct waiter *waiter = CONTAINER_OF(base, struct waiter, waiter);

	CHECK(r == waiter->wanted && (block != NULL) == (r == 0));
	if (block)
		block_put(waiter->cache, block);
	atomic_fetch_add(waiter->n_done, 1);
}

/* Many readers of one missing block: filled once, all told. */
static void test_single_fill(int result)
{
	struct world world;
	struct waiter waiters[100];
	atomic_uint n_done = 0;
	open_world(&world, 3, 64 << 20, NULL);
	struct block_request request = request_of(&world, 5, 1000);

	atomic_store(&world.source.held, true);
	atomic_store(&world.source.failing, result);
	for (size_t i = 0; i < ARRAY_SIZE(waiters); i++) {
		waiters[i] = (struct waiter){
			.waiter.done = waiter_done,
			.cache = world.cache,
			.n_done = &n_done,
			.wanted = result,
		};
		block_want(world.cache, &request, &waiters[i].waiter);
	}
	CHECK(atomic_load(&n_done) == 0);
	CHECK(!block_peek(world.cache, request.key));
	atomic_store(&world.source.held, false);
	while (atomic_load(&n_done) < ARRAY_SIZE(waiters))
		usleep(100);
	CHECK(atomic_load(&world.source.n_fills) == 1);

	/* A failure is forgotten: the next reader tries again. */
	atomic_store(&world.source.failing, 0);
	get(&world, 5, 1000, NULL);
	CHECK(atomic_load(&world.source.n_fills) == (result < 0 ? 2 : 1));
	const struct block *block = block_peek(world.cache, request.key);
	CHECK(block);
	block_put(world.cache, block);
	close_world(&world);
}

static void test_budget(void)
{
	struct world world;
	struct cache_counters counters;
	const struct block *pinned = NULL;
	open_world(&world, 2, 4 << 20, NULL);

	get(&world, 0, BLOCK_SIZE, &pinned);
	for (uint64_t i = 1; i < 50; i++)
		get(&world, i, BLOCK_SIZE, NULL);
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory <= 4 << 20);
	CHECK(counters.computed == 50);

	/* The pinned block is still there, and still whole. */
	const unsigned char *data = pinned->data;
	for (size_t i = 0; i < BLOCK_SIZE; i++)
		CHECK(data[i] == 0);
	get(&world, 0, BLOCK_SIZE, NULL);
	CHECK(atomic_load(&world.source.n_fills) == 50);
	get(&world, 1, BLOCK_SIZE, NULL); /* given up long ago */
	CHECK(atomic_load(&world.source.n_fills) == 51);
	block_put(world.cache, pinned);

	/* Everything pinned: the budget yields, the reader does not. */
	const struct block *blocks[8];
	for (uint64_t i = 0; i < 8; i++)
		get(&world, 100 + i, BLOCK_SIZE, &blocks[i]);
	for (uint64_t i = 0; i < 8; i++)
		block_put(world.cache, blocks[i]);
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory <= 4 << 20);
	close_world(&world);
}

/* Blocks that were read as a whole make way; others stay while they may. */
static void test_had(void)
{
	struct world world;
	struct cache_counters counters;
	const struct block *block = NULL;
	open_world(&world, 2, 64 << 20, NULL);

	for (uint64_t i = 0; i < 20; i++)
		get(&world, i, BLOCK_SIZE, NULL);
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory == 20 * BLOCK_SIZE);
	for (uint64_t i = 0; i < 40; i++) {
		get(&world, i % 20, BLOCK_SIZE, &block);
		block_had(world.cache, block, BLOCK_SIZE / 2);
		block_cache_counters(world.cache, &counters);
		CHECK(i >= 20 || counters.memory == 20 * BLOCK_SIZE);
	}
	CHECK(atomic_load(&world.source.n_fills) == 20);
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory == 8 * BLOCK_SIZE);
	get(&world, 19, BLOCK_SIZE, NULL);
	CHECK(atomic_load(&world.source.n_fills) == 20);
	close_world(&world);
}

/* What a reader waits for overtakes what is only fetched ahead. */
static void test_overtaking(void)
{
	struct world world;
	open_world(&world, 1, 64 << 20, NULL);

	atomic_store(&world.source.held, true);
	for (uint64_t i = 0; i < 20; i++) {
		struct block_request request = request_of(&world, i, 1000);
		request.priority = POOL_BACKGROUND;
		block_want(world.cache, &request, NULL);
	}
	atomic_uint n_done = 0;
	struct waiter waiter = {
		.waiter.done = waiter_done,
		.cache = world.cache,
		.n_done = &n_done,
	};
	struct block_request request = request_of(&world, 19, 1000);
	block_want(world.cache, &request, &waiter.waiter);
	atomic_store(&world.source.held, false);
	while (atomic_load(&n_done) == 0)
		usleep(10);
	/* Only the one that had begun came before it. */
	CHECK(world.source.order[0] == 19 || world.source.order[1] == 19);
	block_cache_free(world.cache);
	CHECK(atomic_load(&world.source.n_fills) <= 20);
	pool_free(world.pool);
}

static void *let_go_soon(void *arg)
{
	struct source *source = arg;

	usleep(100000);
	atomic_store(&source->held, false);
	return NULL;
}

/* Freeing waits for the fill that runs, not for all that were asked for. */
static void test_ending(void)
{
	struct world world;
	struct cache_counters counters;
	pthread_t thread;
	open_world(&world, 1, 64 << 20, NULL);

	atomic_store(&world.source.held, true);
	for (uint64_t i = 0; i < 20; i++) {
		struct block_request request =
			request_of(&world, i, BLOCK_SIZE);
		request.priority = POOL_BACKGROUND;
		block_want(world.cache, &request, NULL);
	}
	while (atomic_load(&world.source.n_fills) == 0)
		usleep(100);
	/* What is being filled takes memory already. */
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory == BLOCK_SIZE);

	CHECK(pthread_create(&thread, NULL, let_go_soon, &world.source) == 0);
	close_world(&world);
	CHECK(atomic_load(&world.source.n_fills) == 1);
	pthread_join(thread, NULL);
}

static void cut_blocks(const char *path)
{
	AUTO_FREE char *command = NULL;

	CHECK(asprintf(&command,
		       "find %s -mindepth 2 -type f -exec truncate -s -1 {} +",
		       path) > 0);
	CHECK(system(command) == 0);
}

static void test_disk(void)
{
	AUTO_FREE char *path = NULL;
	CHECK(asprintf(&path, "%s/cache", folder) > 0);
	struct disk_options options = {.directory = path};

	/* Round 0 fills, 1 loads, 2 finds everything damaged, 3 loads. */
	for (unsigned round = 0; round < 4; round++) {
		unsigned n_filled = round % 2 ? 0 : 10;
		if (round == 2)
			cut_blocks(path);
		struct world world;
		AUTO(disk_cache) disk = NULL;
		CHECK(disk_cache_open(&options, &disk, NULL) == 0);
		open_world(&world, 2, 64 << 20, disk);
		for (uint64_t i = 0; i < 10; i++)
			get(&world, i, 100000, NULL);
		CHECK(atomic_load(&world.source.n_fills) == n_filled);
		struct cache_counters counters;
		block_cache_counters(world.cache, &counters);
		CHECK(counters.loaded == 10 - n_filled);
		CHECK(counters.dropped == (round == 2 ? 10 : 0));
		close_world(&world); /* waits for what is written behind */
	}
}

static uint64_t wait_until_stored(struct block_cache *cache)
{
	struct cache_counters counters = {.waiting = 1};

	while (counters.waiting > 0) {
		usleep(1000);
		block_cache_counters(cache, &counters);
	}
	return counters.stored;
}

/* A block in memory that is not on disk, for whatever reason, can be stored;
 * one that is there is not stored again. */
static void test_store(void)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *command = NULL;
	AUTO(disk_cache) disk = NULL;
	const struct block *block = NULL;
	struct world world;

	CHECK(asprintf(&path, "%s/store", folder) > 0);
	CHECK(asprintf(&command, "rm -r %s/??", path) > 0);
	struct disk_options options = {.directory = path};
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	open_world(&world, 2, 64 << 20, disk);
	struct block_request request = request_of(&world, 3, 100000);
	request.keep = false;
	CHECK(block_get(world.cache, &request, &block) == 0);
	block_store(world.cache, &request, block);
	CHECK(wait_until_stored(world.cache) == 0);
	request.keep = true;
	block_store(world.cache, &request, block);
	CHECK(wait_until_stored(world.cache) == 1);
	block_store(world.cache, &request, block);
	CHECK(wait_until_stored(world.cache) == 1);
	CHECK(system(command) == 0);
	block_store(world.cache, &request, block);
	CHECK(wait_until_stored(world.cache) == 2);
	CHECK(disk_cache_has(disk, request.key));
	block_put(world.cache, block);
	CHECK(atomic_load(&world.source.n_fills) == 1);
	close_world(&world);
}

struct reader {
	pthread_t thread;
	struct world *world;
	unsigned seed;
};

static void *run_reader(void *arg)
{
	struct reader *reader = arg;

	for (unsigned i = 0; i < 2000; i++) {
		reader->seed = reader->seed * 1664525u + 1013904223u;
		uint64_t number = (reader->seed >> 8) % 40;
		get(reader->world, number, number % 2 ? BLOCK_SIZE : 5000,
		    NULL);
	}
	return NULL;
}

static void test_crowd(void)
{
	struct world world;
	struct reader readers[4];
	open_world(&world, 3, 6 << 20, NULL);

	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++) {
		readers[i] = (struct reader){.world = &world, .seed = i};
		CHECK(pthread_create(&readers[i].thread, NULL, run_reader,
				     &readers[i]) == 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		pthread_join(readers[i].thread, NULL);
	close_world(&world);
}

/* A fill that stands on another block fills it itself, and finds it then. */
static void test_try(void)
{
	struct world world;
	struct cache_counters counters;
	const struct block *block = NULL, *again = NULL;
	open_world(&world, 1, 256 << 20, NULL);

	struct block_request request = request_of(&world, 7, BLOCK_SIZE);
	CHECK(block_try(world.cache, &request, &block) == 0);
	CHECK(block_try(world.cache, &request, &again) == 0);
	CHECK(again == block && block->size == BLOCK_SIZE);
	CHECK(((const unsigned char *)block->data)[12345] == 7);
	CHECK(atomic_load(&world.source.n_fills) == 1);
	block_put(world.cache, block);
	block_put(world.cache, again);

	/* A failure is forgotten. */
	atomic_store(&world.source.failing, -EIO);
	request = request_of(&world, 8, 1000);
	CHECK(block_try(world.cache, &request, &block) == -EIO);
	atomic_store(&world.source.failing, 0);
	CHECK(block_try(world.cache, &request, &block) == 0);
	block_put(world.cache, block);

	/* More than readers' blocks may keep stays, as no reader had it. */
	for (uint64_t i = 100; i < 200; i++) {
		request = request_of(&world, i, BLOCK_SIZE);
		CHECK(block_try(world.cache, &request, &block) == 0);
		block_put(world.cache, block);
	}
	block_cache_counters(world.cache, &counters);
	CHECK(counters.memory >= 100 * BLOCK_SIZE);
	CHECK(counters.stored == 0);
	close_world(&world);
}

/* Who finds a block under way is told so at once. */
static void test_try_busy(void)
{
	struct world world;
	const struct block *block = NULL;
	open_world(&world, 1, 16 << 20, NULL);

	atomic_store(&world.source.held, true);
	struct block_request request = request_of(&world, 3, 5000);
	block_want(world.cache, &request, NULL);
	while (atomic_load(&world.source.n_fills) == 0)
		usleep(100);
	CHECK(block_try(world.cache, &request, &block) == -EBUSY);
	atomic_store(&world.source.held, false);
	int r = -EBUSY;
	while (r == -EBUSY) {
		usleep(100);
		r = block_try(world.cache, &request, &block);
	}
	CHECK(r == 0 && atomic_load(&world.source.n_fills) == 1);
	block_put(world.cache, block);
	close_world(&world);
}

int main(void)
{
	AUTO_FREE char *command = NULL;

	CHECK(mkdtemp(folder));
	test_single_fill(0);
	test_single_fill(-EIO);
	test_budget();
	test_had();
	test_overtaking();
	test_ending();
	test_disk();
	test_store();
	test_try();
	test_try_busy();
	test_crowd();
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
