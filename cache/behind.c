#include "cache/behind.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/disk.h"

/*
 * Low enough to take a few per cent of a busy core; not the lowest, as a thread
 * that is pre-empted while it holds a lock should be back soon.
 */
#define NICE 15

#define N_LATER 16384		 /* requests that are remembered */
#define SMALL ((size_t)64 << 10) /* finds a place always */
#define QUIET 1000		 /* milliseconds without readers */
#define PATIENCE 30000		 /* and after a failure, as the disk tier's */

struct behind {
	struct disk_cache *disk;
	size_t most;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct behind_item *first, **end;
	size_t waiting;		       /* bytes, those being stored included */
	atomic_int_fast64_t last_read; /* CLOCK_MONOTONIC milliseconds */
	struct block_request *later;   /* (N_LATER,) a ring; owned */
	size_t later_first, n_later;
	int64_t not_before; /* milliseconds as above: of the next one made */
	bool ending;
	unsigned n_threads;
	pthread_t threads[];
};

static int64_t milliseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static struct behind_item *pop(struct behind *behind)
{
	struct behind_item *item = behind->first;

	if (item) {
		behind->first = item->next;
		if (!behind->first)
			behind->end = &behind->first;
	}
	return item;
}

/* With the lock held. */
static bool pop_later(struct behind *behind, struct block_request *ret)
{
	int64_t now = milliseconds();

	if (behind->n_later == 0 || behind->ending ||
	    now < behind->not_before ||
	    now < atomic_load(&behind->last_read) + QUIET)
		return false;
	*ret = behind->later[behind->later_first];
	behind->later_first = (behind->later_first + 1) % N_LATER;
	behind->n_later--;
	return true;
}

/* With the lock held: nothing can be stored now. What was taken is the first
 * again, unless so many have come that its place is taken. */
static void put_back(struct behind *behind, const struct block_request *request)
{
	behind->not_before = milliseconds() + PATIENCE;
	if (behind->n_later == N_LATER)
		return;
	behind->later_first = (behind->later_first + N_LATER - 1) % N_LATER;
	behind->later[behind->later_first] = *request;
	behind->n_later++;
}

/* With the lock held. What is to be made later is looked for again and again,
 * since readers do not wake us when they end. */
static void wait_for_work(struct behind *behind)
{
	struct timespec until;

	if (behind->n_later == 0) {
		pthread_cond_wait(&behind->work, &behind->lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += QUIET / 4 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&behind->work, &behind->lock, &until);
}

/* False: nothing can be stored now, so the rest is to wait. */
static bool make(struct behind *behind, const struct block_request *request,
		 void *room)
{
	if (disk_cache_has(behind->disk, request->key) ||
	    request->fill(request->arg, request->number, room, request->size) <
		    0)
		return true;
	return disk_cache_store(behind->disk, request->key, room, request->size,
				request->width) == 0;
}

static void store(struct behind *behind, struct behind_item *item)
{
	size_t size = item->size;

	int r = disk_cache_store(behind->disk, item->key, item->data, size,
				 item->width);
	item->done(item, r);
	pthread_mutex_lock(&behind->lock);
	behind->waiting -= size;
	pthread_mutex_unlock(&behind->lock);
}

static void *run(void *arg)
{
	struct behind *behind = arg;
	struct behind_item *item;
	struct block_request request;
	AUTO_FREE void *room = NULL;

	/* Linux gives every thread a priority of its own. */
	setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
	pthread_mutex_lock(&behind->lock);
	while ((item = pop(behind)) || !behind->ending) {
		bool again = !item && pop_later(behind, &request);
		if (!item && !again) {
			wait_for_work(behind);
			continue;
		}
		pthread_mutex_unlock(&behind->lock);
		bool go_on = true;
		if (item)
			store(behind, item);
		else if (room || (room = malloc(BLOCK_SIZE)))
			go_on = make(behind, &request, room);
		pthread_mutex_lock(&behind->lock);
		if (!go_on)
			put_back(behind, &request);
	}
	pthread_mutex_unlock(&behind->lock);
	return NULL;
}

int behind_new(struct disk_cache *disk, unsigned n_threads, size_t most,
	       struct behind **ret)
{
	struct behind *behind =
		calloc(1, sizeof(*behind) + n_threads * sizeof(pthread_t));
	pthread_condattr_t attr;

	if (!behind)
		return -ENOMEM;
	behind->disk = disk;
	behind->most = most;
	behind->end = &behind->first;
	pthread_mutex_init(&behind->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&behind->work, &attr);
	pthread_condattr_destroy(&attr);
	behind->later = calloc(N_LATER, sizeof(*behind->later));
	int r = behind->later ? 0 : -ENOMEM;
	while (r == 0 && behind->n_threads < n_threads) {
		r = -pthread_create(&behind->threads[behind->n_threads], NULL,
				    run, behind);
		behind->n_threads += r == 0;
	}
	if (r < 0) {
		behind_free(behind);
		return r;
	}
	*ret = behind;
	return 0;
}

void behind_free(struct behind *behind)
{
	if (!behind)
		return;
	pthread_mutex_lock(&behind->lock);
	behind->ending = true;
	pthread_cond_broadcast(&behind->work);
	pthread_mutex_unlock(&behind->lock);
	for (unsigned i = 0; i < behind->n_threads; i++)
		pthread_join(behind->threads[i], NULL);
	pthread_mutex_destroy(&behind->lock);
	pthread_cond_destroy(&behind->work);
	free(behind->later);
	free(behind);
}

bool behind_store(struct behind *behind, struct behind_item *item)
{
	pthread_mutex_lock(&behind->lock);
	bool fits = item->size <= SMALL ||
		    behind->waiting + item->size <= behind->most;
	if (fits) {
		behind->waiting += item->size;
		item->next = NULL;
		*behind->end = item;
		behind->end = &item->next;
		pthread_cond_signal(&behind->work);
	}
	pthread_mutex_unlock(&behind->lock);
	return fits;
}

struct copy {
	struct behind_item item;
	unsigned char data[];
};

static void copy_done(struct behind_item *item, int r UNUSED)
{
	free(CONTAINER_OF(item, struct copy, item));
}

void behind_copy(struct behind *behind, struct digest key, const void *data,
		 size_t size)
{
	struct copy *copy = malloc(sizeof(*copy) + size);

	if (!copy)
		return;
	memcpy(copy->data, data, size);
	copy->item = (struct behind_item){
		.key = key,
		.data = copy->data,
		.size = size,
		.width = 1,
		.done = copy_done,
	};
	if (!behind_store(behind, &copy->item))
		free(copy);
}

void behind_later(struct behind *behind, const struct block_request *request)
{
	pthread_mutex_lock(&behind->lock);
	if (behind->n_later < N_LATER) {
		size_t at = (behind->later_first + behind->n_later) % N_LATER;
		behind->later[at] = *request;
		behind->n_later++;
		pthread_cond_signal(&behind->work);
	}
	pthread_mutex_unlock(&behind->lock);
}

void behind_yield(struct behind *behind)
{
	atomic_store_explicit(&behind->last_read, milliseconds(),
			      memory_order_relaxed);
}

size_t behind_waiting(struct behind *behind)
{
	pthread_mutex_lock(&behind->lock);
	size_t waiting = behind->waiting;
	pthread_mutex_unlock(&behind->lock);
	return waiting;
}

size_t behind_place(struct behind *behind)
{
	size_t waiting = behind_waiting(behind);

	return waiting < behind->most ? behind->most - waiting : 0;
}
