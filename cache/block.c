#include "cache/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/arena.h"
#include "cache/behind.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/lru.h"
#include "util/range.h"

/* Keys are digests, so any part of one is a hash already. */
#define HASH_FUNCTION(key, length, hash)                                \
	do {                                                            \
		(void)(length);                                         \
		(hash) = (unsigned)((const struct digest *)(key))->low; \
	} while (0)
#define HASH_NONFATAL_OOM 1 /* else uthash ends the process */
#include <uthash.h>

/* Blocks that wait to be stored may pin this part of the budget. */
#define BEHIND_SHARE 4

/*
 * Blocks that readers have had may take this much: they are in the page cache
 * now, and going on with warm memory is cheaper than filling the whole budget.
 */
#define USED_MOST ((size_t)64 << 20)

enum entry_state {
	ENTRY_QUEUED, /* its fill has not begun */
	ENTRY_FILLING,
	ENTRY_READY,
	ENTRY_GONE, /* out of the table; its last task frees it */
};

struct entry {
	struct block block; /* first: a block is its entry */
	UT_hash_handle hh;
	struct digest key;
	enum entry_state state;
	unsigned n_pins;     /* of a ready entry; 0: in the LRU list */
	unsigned n_tasks;    /* fill tasks submitted and not yet run */
	bool loading;	     /* the disk tier has not answered yet */
	bool used;	     /* has been pinned by a reader */
	struct lru_item lru; /* while it is ready and not pinned */
	struct block_waiter *waiters;
	struct block_request request;
};

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
};

struct block_cache {
	struct block_options options;
	pthread_mutex_t lock;
	pthread_cond_t idle;	/* n_running fell to 0 */
	struct entry *entries;	/* hash table by key */
	struct lru ahead, used; /* unpinned: fetched ahead, and had */
	struct arena arena;	/* of blocks of BLOCK_SIZE */
	size_t n_running;	/* tasks of ours in the pool */
	struct behind *behind;	/* owned; NULL without a disk, as is: */
	struct pool *loaders;	/* owned */
	bool ending;		/* fills that have not begun are dropped */
	struct cache_counters counters;
};

static struct lru *lru_of(struct block_cache *cache, const struct entry *entry)
{
	return entry->used ? &cache->used : &cache->ahead;
}

/* With the lock held. */
static void buffer_free(struct block_cache *cache, void *data, size_t size)
{
	if (!data)
		return;
	cache->counters.memory -= size;
	if (size == BLOCK_SIZE)
		arena_put(&cache->arena, data);
	else
		free(data);
}

/* With the lock held: takes an entry out of the table. Tasks that were
 * overtaken may still know it; the last of them frees it. */
static void entry_remove(struct block_cache *cache, struct entry *entry)
{
	HASH_DEL(cache->entries, entry);
	entry->state = ENTRY_GONE;
	buffer_free(cache, (void *)entry->block.data, entry->block.size);
	if (entry->n_tasks == 0)
		free(entry);
}

/* With the lock held: drops the oldest of a list while there is too much. */
static void drop(struct block_cache *cache, struct lru *lru, size_t most,
		 size_t used_most)
{
	while (lru->oldest &&
	       (cache->counters.memory > most || lru->size > used_most)) {
		struct lru_item *item = lru->oldest;
		lru_remove(lru, item);
		entry_remove(cache, CONTAINER_OF(item, struct entry, lru));
	}
}

/* With the lock held: makes room for `need` bytes more. */
static void evict(struct block_cache *cache, size_t need)
{
	size_t budget = cache->options.memory;
	size_t most = budget > need ? budget - need : 0;

	drop(cache, &cache->used, most, USED_MOST);
	drop(cache, &cache->ahead, most, SIZE_MAX);
}

/* With the lock held: room first, so that the budget covers running fills. */
static void *buffer_new(struct block_cache *cache, size_t size)
{
	evict(cache, size);
	void *data =
		size == BLOCK_SIZE ? arena_get(&cache->arena) : malloc(size);
	if (data)
		cache->counters.memory += size;
	return data;
}

static void pin(struct block_cache *cache, struct entry *entry)
{
	if (entry->n_pins++ == 0)
		lru_remove(lru_of(cache, entry), &entry->lru);
	entry->used = true;
}

static void unpin(struct block_cache *cache, struct entry *entry)
{
	if (--entry->n_pins == 0) {
		lru_add(lru_of(cache, entry), &entry->lru, entry->block.size);
		evict(cache, 0);
	}
}

static struct entry *find(struct block_cache *cache, struct digest key)
{
	struct entry *entry = NULL;

	HASH_FIND(hh, cache->entries, &key, sizeof(key), entry);
	return entry;
}

static void task_ended(struct block_cache *cache)
{
	if (--cache->n_running == 0)
		pthread_cond_broadcast(&cache->idle);
}

static void stored(struct behind_item *item)
{
	struct storing *storing = CONTAINER_OF(item, struct storing, item);
	struct block_cache *cache = storing->cache;

	pthread_mutex_lock(&cache->lock);
	unpin(cache, storing->entry);
	pthread_mutex_unlock(&cache->lock);
	free(storing);
}

/* With the lock held: pins a new block until it has been stored. */
static void store_behind(struct block_cache *cache, struct entry *entry)
{
	const struct block_request *request = &entry->request;
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
	};
	if (behind_store(cache->behind, &storing->item)) {
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
		entry->used = waiters != NULL;
		for (struct block_waiter *w = waiters; w; w = w->next)
			entry->n_pins++;
		if (!from_disk)
			store_behind(cache, entry);
		if (entry->n_pins == 0)
			lru_add(lru_of(cache, entry), &entry->lru,
				entry->block.size);
		evict(cache, 0);
	} else {
		cache->counters.failed++;
		entry_remove(cache, entry);
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
	void *data = ending ? NULL : buffer_new(cache, size);
	pthread_mutex_unlock(&cache->lock);
	int r = ending ? -ECANCELED : -ENOMEM;
	if (data)
		r = fill_data(cache, entry, load, data);
	if (r == 0) {
		entry->block = (struct block){data, size};
	} else {
		pthread_mutex_lock(&cache->lock);
		buffer_free(cache, data, size);
		pthread_mutex_unlock(&cache->lock);
	}
	if (r == -ENOENT && load) {
		r = pass_on(cache, entry);
		if (r == 0)
			return;
	}
	settle(cache, entry, r, load);
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
	if (mine)
		fill(cache, entry, load);

	pthread_mutex_lock(&cache->lock);
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
}

const struct block *block_peek(struct block_cache *cache, struct digest key)
{
	if (cache->behind)
		behind_yield(cache->behind);
	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find(cache, key);
	if (entry && entry->state == ENTRY_READY) {
		pin(cache, entry);
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
	struct entry *entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->key = request->key;
	entry->request = *request;
	entry->state = ENTRY_QUEUED;
	entry->loading = cache->loaders && request->keep;
	HASH_ADD(hh, cache->entries, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
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
		HASH_DEL(cache->entries, entry);
		free(entry);
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
	struct entry *entry = find(cache, request->key);
	bool ready = entry && entry->state == ENTRY_READY;
	if (ready) {
		cache->counters.hits++;
		if (waiter)
			pin(cache, entry);
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
	if (sync->r == 0)
		entry->used = false;
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
	if (sync->r == 0)
		*ret = sync->block;
	return sync->r;
}

/* What only fills have had is in no reader's page cache: it stays among the
 * blocks that are still to be used. */
int block_try(struct block_cache *cache, const struct block_request *request,
	      const struct block **ret)
{
	struct sync_waiter sync = {
		.waiter.done = sync_done,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.changed = PTHREAD_COND_INITIALIZER,
	};

	pthread_mutex_lock(&cache->lock);
	struct entry *entry = find(cache, request->key);
	bool known = entry, ready = entry && entry->state == ENTRY_READY;
	if (ready) {
		pin(cache, entry);
		entry->used = false;
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

void block_put(struct block_cache *cache, const struct block *block)
{
	struct entry *entry = (struct entry *)block;

	pthread_mutex_lock(&cache->lock);
	unpin(cache, entry);
	pthread_mutex_unlock(&cache->lock);
}

int block_cache_new(const struct block_options *options,
		    struct block_cache **ret)
{
	struct block_cache *cache = calloc(1, sizeof(*cache));
	if (!cache)
		return -ENOMEM;
	cache->options = *options;
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

	struct entry *entry, *next;
	HASH_ITER(hh, cache->entries, entry, next)
	{
		entry_remove(cache, entry);
	}
	arena_done(&cache->arena);
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
	pthread_mutex_unlock(&cache->lock);
	if (cache->behind) {
		ret->waiting = behind_waiting(cache->behind);
		disk_cache_counters(cache->options.disk, ret);
	}
}
