#include "util/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct queue {
	struct pool_task *first, **end;
};

struct pool_loop {
	struct pool *pool;
	struct pool_loop *next; /* in the pool's list, while it has work */
	atomic_uint n_refs;
	size_t n;
	pool_loop_fn *body;
	void *arg;
	atomic_size_t taken;	/* indexes handed out; may pass n */
	atomic_size_t returned; /* calls that have returned */
	bool listed;
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;	 /* a task, a loop, or the end */
	pthread_cond_t returned; /* some loop's last call has returned */
	struct queue queues[2];	 /* by priority */
	struct pool_loop *loops; /* that may still have indexes to hand out */
	bool ending;
	unsigned n_threads;
	pthread_t threads[];
};

static void loop_unlist(struct pool *pool, struct pool_loop *loop)
{
	if (!loop->listed)
		return;
	struct pool_loop **at = &pool->loops;
	while (*at != loop)
		at = &(*at)->next;
	*at = loop->next;
	loop->listed = false;
	pool_loop_unref(loop);
}

static void run_loop(struct pool_loop *loop)
{
	struct pool *pool = loop->pool;

	for (;;) {
		size_t i = atomic_fetch_add(&loop->taken, 1);
		if (i >= loop->n)
			break;
		loop->body(loop->arg, i);
		if (atomic_fetch_add(&loop->returned, 1) + 1 == loop->n) {
			pthread_mutex_lock(&pool->lock);
			pthread_cond_broadcast(&pool->returned);
			pthread_mutex_unlock(&pool->lock);
		}
	}
	pthread_mutex_lock(&pool->lock);
	loop_unlist(pool, loop);
	pthread_mutex_unlock(&pool->lock);
}

static struct pool_task *queue_pop(struct queue *queue)
{
	struct pool_task *task = queue->first;

	if (task) {
		queue->first = task->next;
		if (!queue->first)
			queue->end = &queue->first;
	}
	return task;
}

/* With the lock held: waits for something to do; false when all is done. */
static bool next_work(struct pool *pool, struct pool_loop **ret_loop,
		      struct pool_task **ret_task)
{
	for (;;) {
		*ret_loop = NULL;
		*ret_task = NULL;
		/* Somebody is blocked on a loop, so it goes first. */
		if (pool->loops) {
			*ret_loop = pool_loop_ref(pool->loops);
			return true;
		}
		for (unsigned i = 0; i < 2; i++) {
			*ret_task = queue_pop(&pool->queues[i]);
			if (*ret_task)
				return true;
		}
		if (pool->ending)
			return false;
		pthread_cond_wait(&pool->work, &pool->lock);
	}
}

static void *worker(void *arg)
{
	struct pool *pool = arg;
	struct pool_loop *loop;
	struct pool_task *task;

	pthread_mutex_lock(&pool->lock);
	while (next_work(pool, &loop, &task)) {
		pthread_mutex_unlock(&pool->lock);
		if (loop) {
			run_loop(loop);
			pool_loop_unref(loop);
		} else {
			task->run(task);
		}
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int pool_new(unsigned n_threads, struct pool **ret)
{
	struct pool *pool =
		calloc(1, sizeof(*pool) + n_threads * sizeof(pthread_t));
	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
	pthread_cond_init(&pool->returned, NULL);
	for (unsigned i = 0; i < 2; i++)
		pool->queues[i].end = &pool->queues[i].first;
	for (unsigned i = 0; i < n_threads; i++) {
		int r = pthread_create(&pool->threads[i], NULL, worker, pool);
		if (r != 0) {
			pool_free(pool);
			return -r;
		}
		pool->n_threads++;
	}
	*ret = pool;
	return 0;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_mutex_destroy(&pool->lock);
	pthread_cond_destroy(&pool->work);
	pthread_cond_destroy(&pool->returned);
	free(pool);
}

unsigned pool_threads(const struct pool *pool)
{
	return pool->n_threads;
}

void pool_submit(struct pool *pool, struct pool_task *task,
		 enum pool_priority priority)
{
	struct queue *queue = &pool->queues[priority];

	task->next = NULL;
	pthread_mutex_lock(&pool->lock);
	*queue->end = task;
	queue->end = &task->next;
	pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
}

int pool_loop_new(struct pool *pool, size_t n, pool_loop_fn *body, void *arg,
		  struct pool_loop **ret)
{
	struct pool_loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	loop->pool = pool;
	loop->n = n;
	loop->body = body;
	loop->arg = arg;
	atomic_init(&loop->n_refs, 1);
	if (n > 1) {
		atomic_fetch_add(&loop->n_refs, 1); /* the list's */
		pthread_mutex_lock(&pool->lock);
		loop->next = pool->loops;
		pool->loops = loop;
		loop->listed = true;
		pthread_cond_broadcast(&pool->work);
		pthread_mutex_unlock(&pool->lock);
	}
	*ret = loop;
	return 0;
}

struct pool_loop *pool_loop_ref(struct pool_loop *loop)
{
	atomic_fetch_add(&loop->n_refs, 1);
	return loop;
}

void pool_loop_unref(struct pool_loop *loop)
{
	if (loop && atomic_fetch_sub(&loop->n_refs, 1) == 1)
		free(loop);
}

void pool_loop_join(struct pool_loop *loop)
{
	struct pool *pool = loop->pool;

	run_loop(loop);
	pthread_mutex_lock(&pool->lock);
	while (atomic_load(&loop->returned) < loop->n)
		pthread_cond_wait(&pool->returned, &pool->lock);
	pthread_mutex_unlock(&pool->lock);
}
