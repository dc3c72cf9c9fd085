/* Tasks run in order of priority; loops are done by whoever joins. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/pool.h"

struct note {
	struct pool_task task;
	char name;
	atomic_int *blocked; /* spins while it is set */
};

static char order[16];
static atomic_int n_order;

static void run_note(struct pool_task *task)
{
	struct note *note = CONTAINER_OF(task, struct note, task);

	while (note->blocked && atomic_load(note->blocked))
		;
	order[atomic_fetch_add(&n_order, 1)] = note->name;
}

/* One worker, held up until everything is queued. */
static void test_priorities(void)
{
	atomic_int blocked = 1;
	struct note notes[] = {{.name = 'x', .blocked = &blocked},
			       {.name = 'a'},
			       {.name = 'b'},
			       {.name = '1'},
			       {.name = '2'}};
	struct pool *pool = NULL;

	CHECK(pool_new(1, &pool) == 0);
	CHECK(pool_threads(pool) == 1);
	for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
		bool background = notes[i].name == 'a' || notes[i].name == 'b';
		notes[i].task.run = run_note;
		pool_submit(pool, &notes[i].task,
			    background ? POOL_BACKGROUND : POOL_FOREGROUND);
		/* The worker must have taken the first before others come. */
		for (int spin = 0; i == 0 && spin < 1000; spin++)
			sched_yield();
	}
	atomic_store(&blocked, 0);
	pool_free(pool); /* runs what is queued */
	CHECK(strcmp(order, "x12ab") == 0);
}

struct count {
	atomic_int calls[1000];
};

static void count_body(void *arg, size_t i)
{
	struct count *count = arg;

	atomic_fetch_add(&count->calls[i], 1);
}

static void check_counts(const struct count *count, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(count->calls); i++)
		CHECK(atomic_load(&count->calls[i]) == (i < n));
}

static void test_loop_sizes(struct pool *pool)
{
	static const size_t sizes[] = {0, 1, 2, 1000};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct count count = {0};
		struct pool_loop *loop = NULL;
		CHECK(pool_loop_new(pool, sizes[i], count_body, &count,
				    &loop) == 0);
		pool_loop_join(loop);
		check_counts(&count, sizes[i]);
		pool_loop_unref(loop);
	}
}

static void *join_loop(void *arg)
{
	struct pool_loop *loop = arg;

	pool_loop_join(loop);
	pool_loop_unref(loop);
	return NULL;
}

static void test_many_joiners(struct pool *pool)
{
	struct count count = {0};
	struct pool_loop *loop = NULL;
	pthread_t threads[4];

	CHECK(pool_loop_new(pool, 1000, count_body, &count, &loop) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK(pthread_create(&threads[i], NULL, join_loop,
				     pool_loop_ref(loop)) == 0);
	pool_loop_join(loop);
	check_counts(&count, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	pool_loop_unref(loop);
}

struct nested {
	struct pool_task task;
	struct pool *pool;
	struct count count;
};

static void run_nested(struct pool_task *task)
{
	struct nested *nested = CONTAINER_OF(task, struct nested, task);
	struct pool_loop *loop = NULL;

	CHECK(pool_loop_new(nested->pool, 1000, count_body, &nested->count,
			    &loop) == 0);
	pool_loop_join(loop);
	pool_loop_unref(loop);
}

/* A loop inside a task must not wait for a worker that is not there. */
static void test_nested(unsigned n_threads)
{
	struct nested nested[3] = {0};
	struct pool *pool = NULL;

	CHECK(pool_new(n_threads, &pool) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(nested); i++) {
		nested[i].pool = pool;
		nested[i].task.run = run_nested;
		pool_submit(pool, &nested[i].task, POOL_FOREGROUND);
	}
	pool_free(pool);
	for (size_t i = 0; i < ARRAY_SIZE(nested); i++)
		check_counts(&nested[i].count, 1000);
}

int main(void)
{
	test_priorities();
	for (unsigned n_threads = 1; n_threads <= 4; n_threads++) {
		struct pool *pool = NULL;
		CHECK(pool_new(n_threads, &pool) == 0);
		test_loop_sizes(pool);
		test_many_joiners(pool);
		pool_free(pool);
		test_nested(n_threads);
	}
	return 0;
}
