#include "cache/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/behind.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/memory.h"
#include "util/range.h"

/* Blocks that wait to be stored may pin this part of the budget. */
#define BEHIND_SHARE 4

struct fill_task {
	struct pool_task task;
	struct block_cache *cache;
	struct entry *entry;
	bool load; /* from disk, else compute */
};

struct storing { /* a block on its way to disk */
	struct behind_item item;
	struct block_cache *cache;
	struct entry *entry; /* pinned */
	struct block_request request;
};

struct block_cache {
	struct block_options options;
	pthread_mutex_t lock;
	pthread_cond_t idle; /* n_running fell to 0 */
	struct memory memory;
	size_t n_running;      /* tasks of ours in the pool */
	struct behind *behind; /* owned; NULL without a disk, as is: */
	struct pool *loaders;  /* owned */
	bool ending;	       /* fills that have not begun are dropped */
	struct cache_counters counters;
};

static void task_ended(struct block_cache *cache)
{
	if (--cache->n_running == 0)
		pthread_cond_broadcast(&cache->idle);
}

/* Where the disk has failed, it is tried again later. */
static void stored(struct behind_item *item, int r)
{
	struct storing *storing = CONTAINER_OF(item, struct storing, item);
	struct block_cache *cache = storing->cache;

	pthread_mutex_lock(&cache->lock);
	storing->entry->storing = false;
	memory_unpin(&cache->memory, storing->entry);
	pthread_mutex_unlock(&cache->lock);
	if (r == -EAGAIN)
		behind_later(cache->behind, &storing->request);
	free(storing);
}

/* With the lock held: pins a block until it has been stored. */
static void store_behind(struct block_cache *cache, struct entry *entry,
			 const struct block_request *request)
{
	if (!cache->behind || !request->keep)
		return;

	struct storing *storing = malloc(sizeof(*storing));
	if (!storing)
		return;
	*storing = (struct storing){
		.item =
			{
				.key = entry->key,
				.data = entry->block.data,
				.size = entry->block.size,
				.width = request->width,
				.done = stored,
			},
		.cache = cache,
		.entry = entry,
		.request = *request,
	};
	if (behind_store(cache->behind, &storing->item)) {
		entry->storing = true;
		entry->n_pins++;
		return;
	}
	free(storing);
	cache->counters.skipped++;
	behind_later(cache->behind, request);
}

static void tell(struct block_waiter *waiter, int r, const struct block *block)
{
	while (waiter) {
		struct block_waiter *next = waiter->next;
		waiter->done(waiter, r, block);
		waiter = next;
	}
}

static void fill_run(struct pool_task *task);

/* A fill has ended: with data, or with an errno. */
static void settle(struct block_cache *cache, struct entry *entry, int r,
		   bool from_disk)
{
	pthread_mutex_lock(&cache->lock);
	struct block_waiter *waiters = entry->waiters;
	entry->waiters = NULL;
	entry->n_tasks--;
	if (r == 0) {
		entry->state = ENTRY_READY;
		if (!from_disk) {
			cache->counters.computed++;
			cache->counters.bytes_computed += entry->block.size;
		}
		for (struct block_waiter *w = waiters; w; w = w->next)
			entry->n_pins++;
		if (!from_disk)
			store_behind(cache, entry, &entry->request);
		memory_settle(&cache->memory, entry);
	} else {
		cache->counters.failed++;
		memory_remove(&cache->memory, entry);
	}
	pthread_mutex_unlock(&cache->lock);

	tell(waiters, r, r == 0 ? &entry->block : NULL);
}

/* With the lock held: by the pool whose turn it is. */
static int submit_fill(struct block_cache *cache, struct entry *entry,
		       enum pool_priority priority)
{
	struct fill_task *filling = calloc(1, sizeof(*filling));
	if (!filling)
		return -ENOMEM;
	filling->task.run = fill_run;
	filling->cache = cache;
	filling->entry = entry;
	filling->load = entry->loading;
	entry->n_tasks++;
	cache->n_running++;
	pool_submit(entry->loading ? cache->loaders : cache->options.pool,
		    &filling->task, priority);
	return 0;
}

/* The block is not on disk: the other pool has to compute it. */
static int pass_on(struct block_cache *cache, struct entry *entry)
{
	pthread_mutex_lock(&cache->lock);
	entry->loading = false;
	int r = submit_fill(cache, entry, entry->request.priority);
	/* Else it stays this task's, which settles it. */
	if (r == 0) {
		entry->state = ENTRY_QUEUED;
		entry->n_tasks--; /* this one's */
	}
	pthread_mutex_unlock(&cache->lock);
	return r;
}

static int fill_data(struct block_cache *cache, const struct entry *entry,
		     bool load, void *data)
{
	const struct block_request *request = &entry->request;

	if (load)
		return disk_cache_load(cache->options.disk, request->key, data,
				       request->size);
	return request->fill(request->arg, request->number, data,
			     request->size);
}

static void fill(struct block_cache *cache, struct entry *entry, bool load)
{
	size_t size = entry->request.size;

	pthread_mutex_lock(&cache->lock);
	bool ending = cache->ending;
	void *data = ending ? NULL : memory_buffer(&cache->memory, size);
	pthread_mutex_unlock(&cache->lock);
	int r = ending ? -ECANCELED : -ENOMEM;
	if (data)
		r = fill_data(cache, entry, load, data);
	if (r == 0) {
		entry->block = (struct block){data, size};
	} else {
		pthread_mutex_lock(&cache->lock);
		memory_return(&cache->memory, data, size);
		pthread_mutex_unlock(&cache->lock);
	}
	if (r == -ENOENT && load) {
		r = pass_on(cache, entry);
		if (r == 0)
			return;
	}
	settle(cache, entry, r, load);
}

/* Once its readers have been answered: memory for the fills to come. */
static void touch_ahead(struct block_cache *cache)
{
	enum { page = 4096 }; /* or larger */
	volatile char *data = NULL;

	do {
		pthread_mutex_lock(&cache->lock);
		if (data)
			memory_touched(&cache->memory, (void *)data);
		data = memory_ahead(&cache->memory);
		pthread_mutex_unlock(&cache->lock);
		for (size_t at = 0; data && at < BLOCK_SIZE; at += page)
			data[at] = 0;
	} while (data);
}

static void fill_run(struct pool_task *task)
{
	struct fill_task *filling = CONTAINER_OF(task, struct fill_task, task);
	struct block_cache *cache = filling->cache;
	struct entry *entry = filling->entry;
	bool load = filling->load;
	free(filling);

	pthread_mutex_lock(&cache->lock);
	bool mine = entry->state == ENTRY_QUEUED && entry->loading == load;
	if (mine)
		entry->state = ENTRY_FILLING;
	else if (--entry->n_tasks == 0 && entry->state == ENTRY_GONE)
		free(entry);
	pthread_mutex_unlock(&cache->lock);
	if (mine) {
		fill(cache, entry, load);
		touch_ahead(cache);
	}

	pthread_mutex_lock(&cache->lock);
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
}

const struct block *block_peek(struct block_cache *cache, struct digest key)
{
	if (cache->behind)
		behind_yield(cache->behind);
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = memory_find(&cache->memory, key);
	if (entry && entry->state == ENTRY_READY) {
		memory_pin(&cache->memory, entry);
		cache->counters.hits++;
	} else {
		entry = NULL;
	}
	pthread_mutex_unlock(&cache->lock);
	return entry ? &entry->block : NULL;
}

/* With the lock held: a new entry in the table, or NULL. */
static struct entry *entry_new(struct block_cache *cache,
			       const struct block_request *request)
{
	struct entry *entry = memory_add(&cache->memory, request);

	if (entry)
		entry->loading = cache->loaders && request->keep;
	return entry;
}

/* With the lock held: a new entry with its fill under way, or NULL. */
static struct entry *begin(struct block_cache *cache,
			   const struct block_request *request)
{
	struct entry *entry = entry_new(cache, request);
	if (!entry)
		return NULL;
	if (submit_fill(cache, entry, request->priority) < 0) {
		memory_remove(&cache->memory, entry);
		return NULL;
	}
	return entry;
}

void block_want(struct block_cache *cache, const struct block_request *request,
		struct block_waiter *waiter)
{
	int r = 0;

	if (cache->behind)
		behind_yield(cache->behind);
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = memory_find(&cache->memory, request->key);
	bool ready = entry && entry->state == ENTRY_READY;
	if (ready) {
		cache->counters.hits++;
		if (waiter)
			memory_pin(&cache->memory, entry);
	} else if (entry) {
		cache->counters.waits += waiter != NULL;
		/* A reader now waits for what was only fetched ahead. */
		if (request->priority < entry->request.priority) {
			entry->request.priority = request->priority;
			if (entry->state == ENTRY_QUEUED)
				submit_fill(cache, entry, request->priority);
		}
	} else {
		cache->counters.misses++;
		entry = begin(cache, request);
		if (!entry)
			r = -ENOMEM;
	}
	if (!ready && r == 0 && waiter) {
		waiter->next = entry->waiters;
		entry->waiters = waiter;
	}
	pthread_mutex_unlock(&cache->lock);

	if (waiter && (ready || r < 0))
		waiter->done(waiter, r, ready ? &entry->block : NULL);
}

struct sync_waiter {
	struct block_waiter waiter;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ended;
	int r;
	const struct block *block;
};

static void sync_done(struct block_waiter *waiter, int r,
		      const struct block *block)
{
	struct sync_waiter *sync =
		CONTAINER_OF(waiter, struct sync_waiter, waiter);

	pthread_mutex_lock(&sync->lock);
	sync->ended = true;
	sync->r = r;
	sync->block = block;
	pthread_cond_signal(&sync->changed);
	pthread_mutex_unlock(&sync->lock);
}

int block_get(struct block_cache *cache, const struct block_request *request,
	      const struct block **ret)
{
	struct sync_waiter sync = {
		.waiter.done = sync_done,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};

	block_want(cache, request, &sync.waiter);
	pthread_mutex_lock(&sync.lock);
	while (!sync.ended)
		pthread_cond_wait(&sync.changed, &sync.lock);
	pthread_mutex_unlock(&sync.lock);
	if (sync.r == 0)
		*ret = sync.block;
	return sync.r;
}

/* With the lock held: a new entry that the caller fills, or NULL. */
static struct entry *begin_here(struct block_cache *cache,
				const struct block_request *request,
				struct block_waiter *waiter)
{
	struct entry *entry = entry_new(cache, request);
	if (!entry)
		return NULL;

	entry->state = ENTRY_FILLING;
	entry->loading = false;
	entry->request.keep = false;
	entry->waiters = waiter;
	entry->n_tasks++;
	cache->n_running++;
	return entry;
}

static int fill_here(struct block_cache *cache, struct entry *entry,
		     struct sync_waiter *sync, const struct block **ret)
{
	fill(cache, entry, false);
	pthread_mutex_lock(&cache->lock);
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
	if (sync->r == 0)
		*ret = sync->block;
	return sync->r;
}

int block_try(struct block_cache *cache, const struct block_request *request,
	      const struct block **ret)
{
	struct sync_waiter sync = {
		.waiter.done = sync_done,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = memory_find(&cache->memory, request->key);
	bool known = entry, ready = entry && entry->state == ENTRY_READY;
	if (ready) {
		memory_pin(&cache->memory, entry);
		cache->counters.hits++;
	} else if (!entry) {
		cache->counters.misses++;
		entry = begin_here(cache, request, &sync.waiter);
	}
	pthread_mutex_unlock(&cache->lock);
	if (ready)
		*ret = &entry->block;
	if (known)
		return ready ? 0 : -EBUSY;
	return entry ? fill_here(cache, entry, &sync, ret) : -ENOMEM;
}

void block_store(struct block_cache *cache, const struct block_request *request,
		 const struct block *block)
{
	struct entry *entry = (struct entry *)block;

	if (!cache->behind || !request->keep)
		return;
	pthread_mutex_lock(&cache->lock);
	bool storing = entry->storing;
	pthread_mutex_unlock(&cache->lock);
	/* Not the other way round: what has been stored meanwhile is there. */
	if (storing || disk_cache_has(cache->options.disk, request->key))
		return;
	pthread_mutex_lock(&cache->lock);
	if (!entry->storing)
		store_behind(cache, entry, request);
	pthread_mutex_unlock(&cache->lock);
}

void block_put(struct block_cache *cache, const struct block *block)
{
	struct entry *entry = (struct entry *)block;

	pthread_mutex_lock(&cache->lock);
	memory_unpin(&cache->memory, entry);
	pthread_mutex_unlock(&cache->lock);
}

void block_had(struct block_cache *cache, const struct block *block,
	       size_t size)
{
	struct entry *entry = (struct entry *)block;

	pthread_mutex_lock(&cache->lock);
	entry->had += size;
	memory_unpin(&cache->memory, entry);
	pthread_mutex_unlock(&cache->lock);
}

int block_cache_new(const struct block_options *options,
		    struct block_cache **ret)
{
	struct block_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->options = *options;
	cache->memory.budget = options->memory;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->idle, NULL);
	int r = options->disk ? pool_new(BLOCK_LOADING, &cache->loaders) : 0;
	if (r == 0 && options->disk)
		r = behind_new(options->disk,
			       options->n_storing ? options->n_storing : 1,
			       options->memory / BEHIND_SHARE, &cache->behind);
	if (r < 0) {
		block_cache_free(cache);
		return r;
	}
	*ret = cache;
	return 0;
}

void block_cache_free(struct block_cache *cache)
{
	if (!cache)
		return;
	pthread_mutex_lock(&cache->lock);
	cache->ending = true;
	while (cache->n_running > 0)
		pthread_cond_wait(&cache->idle, &cache->lock);
	pthread_mutex_unlock(&cache->lock);
	behind_free(cache->behind);
	pool_free(cache->loaders);
	memory_done(&cache->memory);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->idle);
	free(cache);
}

/* What is larger than a block takes several. */
static struct digest part_key(struct digest key, size_t at)
{
	return at == 0 ? key : digest_of(&key, sizeof(key), at);
}

int block_load(struct block_cache *cache, struct digest key, void *data,
	       size_t size)
{
	int r = cache->options.disk ? 0 : -ENOENT;

	for (size_t at = 0; r == 0 && at < size; at += BLOCK_SIZE)
		r = disk_cache_load(cache->options.disk, part_key(key, at),
				    (char *)data + at,
				    min_u64(size - at, BLOCK_SIZE));
	return r;
}

void block_keep(struct block_cache *cache, struct digest key, const void *data,
		size_t size)
{
	for (size_t at = 0; cache->behind && at < size; at += BLOCK_SIZE)
		behind_copy(cache->behind, part_key(key, at),
			    (const char *)data + at,
			    min_u64(size - at, BLOCK_SIZE));
}

size_t block_cache_place(struct block_cache *cache)
{
	return cache->behind ? behind_place(cache->behind) : SIZE_MAX;
}

void block_cache_counters(struct block_cache *cache, struct cache_counters *ret)
{
	pthread_mutex_lock(&cache->lock);
	*ret = cache->counters;
	ret->memory = cache->memory.size;
	pthread_mutex_unlock(&cache->lock);
	if (cache->behind) {
		ret->waiting = behind_waiting(cache->behind);
		disk_cache_counters(cache->options.disk, ret);
	}
}
