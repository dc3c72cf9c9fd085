#include "cache/block.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache/arena.h"
#include "cache/counters.h"
#include "cache/disk.h"

/* Keys are digests, so any part of one is a hash already. */
#define HASH_FUNCTION(key, length, hash)                                \
	do {                                                            \
		(void)(length);                                         \
		(hash) = (unsigned)((const struct digest *)(key))->low; \
	} while (0)
#define HASH_NONFATAL_OOM 1 /* else uthash ends the process */
#include <uthash.h>

/* Blocks that wait to be written may pin this many bytes. */
#define WRITE_BEHIND ((size_t)32 << 20)

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
	unsigned n_pins;	     /* of a ready entry; 0: in the LRU list */
	unsigned n_tasks;	     /* fill tasks submitted and not yet run */
	bool used;		     /* has been pinned by a reader */
	struct entry *newer, *older; /* LRU list */
	struct block_waiter *waiters;
	struct block_request request;
};

struct fill_task {
	struct pool_task task;
	struct block_cache *cache;
	struct entry *entry;
};

struct write_task {
	struct pool_task task;
	struct block_cache *cache;
	struct entry *entry; /* pinned */
};

struct lru {
	struct entry *newest, *oldest;
	size_t size; /* bytes */
};

struct block_cache {
	struct block_options options;
	pthread_mutex_t lock;
	pthread_cond_t idle;	/* n_running fell to 0 */
	struct entry *entries;	/* hash table by key */
	struct lru ahead, used; /* unpinned: fetched ahead, and had */
	struct arena arena;	/* of blocks of BLOCK_SIZE */
	size_t n_running;	/* tasks of ours in the pool */
	size_t writing;		/* bytes pinned for writing */
	bool ending;		/* fills that have not begun are dropped */
	struct cache_counters counters;
};

static struct lru *lru_of(struct block_cache *cache, const struct entry *entry)
{
	return entry->used ? &cache->used : &cache->ahead;
}

static void lru_remove(struct block_cache *cache, struct entry *entry)
{
	struct lru *lru = lru_of(cache, entry);

	if (entry->newer)
		entry->newer->older = entry->older;
	else
		lru->newest = entry->older;
	if (entry->older)
		entry->older->newer = entry->newer;
	else
		lru->oldest = entry->newer;
	entry->newer = entry->older = NULL;
	lru->size -= entry->block.size;
}

static void lru_add(struct block_cache *cache, struct entry *entry)
{
	struct lru *lru = lru_of(cache, entry);

	entry->older = lru->newest;
	entry->newer = NULL;
	if (lru->newest)
		lru->newest->newer = entry;
	else
		lru->oldest = entry;
	lru->newest = entry;
	lru->size += entry->block.size;
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
	struct entry *entry = lru->oldest;

	while (entry &&
	       (cache->counters.memory > most || lru->size > used_most)) {
		struct entry *newer = entry->newer;
		lru_remove(cache, entry);
		entry_remove(cache, entry);
		entry = newer;
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
		lru_remove(cache, entry);
	entry->used = true;
}

static void unpin(struct block_cache *cache, struct entry *entry)
{
	if (--entry->n_pins == 0) {
		lru_add(cache, entry);
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

static void write_run(struct pool_task *task)
{
	struct write_task *write = CONTAINER_OF(task, struct write_task, task);
	struct block_cache *cache = write->cache;
	struct entry *entry = write->entry;

	disk_cache_store(cache->options.disk, entry->key, entry->block.data,
			 entry->block.size);
	pthread_mutex_lock(&cache->lock);
	cache->writing -= entry->block.size;
	unpin(cache, entry);
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
	free(write);
}

/* With the lock held: pins a new block until it has been written. */
static struct write_task *plan_write(struct block_cache *cache,
				     struct entry *entry)
{
	if (!cache->options.disk || !entry->request.keep)
		return NULL;

	struct write_task *write = NULL;
	if (cache->writing + entry->block.size <= WRITE_BEHIND)
		write = calloc(1, sizeof(*write));
	if (!write) {
		cache->counters.skipped++;
		return NULL;
	}
	write->task.run = write_run;
	write->cache = cache;
	write->entry = entry;
	cache->writing += entry->block.size;
	cache->n_running++;
	entry->n_pins++;
	return write;
}

static void tell(struct block_waiter *waiter, int r, const struct block *block)
{
	while (waiter) {
		struct block_waiter *next = waiter->next;
		waiter->done(waiter, r, block);
		waiter = next;
	}
}

/* A fill has ended: with data, or with an errno. */
static void settle(struct block_cache *cache, struct entry *entry, int r,
		   bool from_disk)
{
	struct write_task *write = NULL;

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
			write = plan_write(cache, entry);
		if (entry->n_pins == 0)
			lru_add(cache, entry);
		evict(cache, 0);
	} else {
		cache->counters.failed++;
		entry_remove(cache, entry);
	}
	pthread_mutex_unlock(&cache->lock);

	tell(waiters, r, r == 0 ? &entry->block : NULL);
	if (write)
		pool_submit(cache->options.pool, &write->task, POOL_BACKGROUND);
}

static void fill(struct block_cache *cache, struct entry *entry)
{
	const struct block_request *request = &entry->request;
	bool from_disk = false;

	pthread_mutex_lock(&cache->lock);
	bool ending = cache->ending;
	void *data = ending ? NULL : buffer_new(cache, request->size);
	pthread_mutex_unlock(&cache->lock);
	int r = ending ? -ECANCELED : -ENOMEM;
	if (data) {
		if (cache->options.disk && request->keep)
			from_disk = disk_cache_load(cache->options.disk,
						    request->key, data,
						    request->size) == 0;
		r = from_disk ? 0
			      : request->fill(request->arg, request->number,
					      data, request->size);
	}
	if (r == 0) {
		entry->block = (struct block){data, request->size};
	} else {
		pthread_mutex_lock(&cache->lock);
		buffer_free(cache, data, request->size);
		pthread_mutex_unlock(&cache->lock);
	}
	settle(cache, entry, r, from_disk);
}

static void fill_run(struct pool_task *task)
{
	struct fill_task *filling = CONTAINER_OF(task, struct fill_task, task);
	struct block_cache *cache = filling->cache;
	struct entry *entry = filling->entry;
	free(filling);

	pthread_mutex_lock(&cache->lock);
	bool mine = entry->state == ENTRY_QUEUED;
	if (mine)
		entry->state = ENTRY_FILLING;
	else if (--entry->n_tasks == 0 && entry->state == ENTRY_GONE)
		free(entry);
	pthread_mutex_unlock(&cache->lock);
	if (mine)
		fill(cache, entry);

	pthread_mutex_lock(&cache->lock);
	task_ended(cache);
	pthread_mutex_unlock(&cache->lock);
}

/* With the lock held. */
static int submit_fill(struct block_cache *cache, struct entry *entry,
		       enum pool_priority priority)
{
	struct fill_task *filling = calloc(1, sizeof(*filling));
	if (!filling)
		return -ENOMEM;
	filling->task.run = fill_run;
	filling->cache = cache;
	filling->entry = entry;
	entry->n_tasks++;
	cache->n_running++;
	pool_submit(cache->options.pool, &filling->task, priority);
	return 0;
}

const struct block *block_peek(struct block_cache *cache, struct digest key)
{
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
		if (entry->state == ENTRY_QUEUED &&
		    request->priority < entry->request.priority &&
		    submit_fill(cache, entry, request->priority) == 0)
			entry->request.priority = request->priority;
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
	entry->request.keep = false;
	entry->waiters = waiter;
	entry->n_tasks++;
	cache->n_running++;
	return entry;
}

static int fill_here(struct block_cache *cache, struct entry *entry,
		     struct sync_waiter *sync, const struct block **ret)
{
	fill(cache, entry);
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
	struct entry *entry, *next;
	HASH_ITER(hh, cache->entries, entry, next)
	{
		entry_remove(cache, entry);
	}
	pthread_mutex_unlock(&cache->lock);

	arena_done(&cache->arena);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->idle);
	free(cache);
}

void block_cache_counters(struct block_cache *cache, struct cache_counters *ret)
{
	pthread_mutex_lock(&cache->lock);
	*ret = cache->counters;
	ret->waiting = cache->writing;
	pthread_mutex_unlock(&cache->lock);
	if (cache->options.disk)
		disk_cache_counters(cache->options.disk, ret);
}
