/*
 * Worker threads, in two forms of work:
 *
 * A *task* is run once by some worker; foreground tasks (a reader waits)
 * go before background ones (nobody does yet).
 *
 * A *loop* is a body to be called for 0 .. n-1, in any order, by every thread
 * that joins it. Whoever needs the result joins; workers without a task help.
 * So a thread that waits for a loop never idles while there is work in it,
 * and a loop started inside a task cannot deadlock.
 *
 * Every function may be called from any thread, except pool_free(), which must
 * not be called from a worker.
 */
#ifndef UTIL_POOL_H
#define UTIL_POOL_H

#include <stddef.h>

#include "util/macros.h"

struct pool;

enum pool_priority {
	POOL_FOREGROUND,
	POOL_BACKGROUND,
};

/* Embedded in its owner; must stay valid until run() has been called. */
struct pool_task {
	void (*run)(struct pool_task *task);
	struct pool_task *next; /* the pool's */
};

int pool_new(unsigned n_threads, struct pool **ret);

/* Runs every submitted task to its end, then stops the workers. */
void pool_free(struct pool *pool);
DEFINE_AUTO(pool, pool_free);

unsigned pool_threads(const struct pool *pool);
void pool_submit(struct pool *pool, struct pool_task *task,
		 enum pool_priority priority);

struct pool_loop;
typedef void pool_loop_fn(void *arg, size_t i);

/*
 * Announces a loop, so that idle workers begin to help. The caller and anyone
 * it tells may join; pool_loop_join() returns when all n calls have returned.
 * Freed by pool_loop_unref(); each joiner that got the pointer from another
 * thread holds a reference of its own. arg must live until the last join.
 */
int pool_loop_new(struct pool *pool, size_t n, pool_loop_fn *body, void *arg,
		  struct pool_loop **ret);
struct pool_loop *pool_loop_ref(struct pool_loop *loop);
void pool_loop_unref(struct pool_loop *loop);
void pool_loop_join(struct pool_loop *loop);

#endif
