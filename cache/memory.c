#include "cache/memory.h"

#include <stdlib.h>

#include "util/macros.h"

/*
 * Blocks that readers have had may take this much: they are in the page cache
 * now, and so few stay in the processor's caches, where the next ones are made
 * in their place.
 */
#define HAD_MOST ((size_t)8 << 20)

/* Buffers that have memory before they are wanted: a huge page is two of them,
 * and while one is touched the other two can be filled. */
#define N_READY 4

static struct lru *lru_of(struct memory *memory, const struct entry *entry)
{
	return entry->had < entry->block.size ? &memory->ahead : &memory->had;
}

/* Buffers that are kept take of the budget what blocks leave. */
static void trim(struct memory *memory, size_t need)
{
	size_t taken = memory->size + need;

	arena_trim(&memory->arena,
		   memory->budget > taken
			   ? (memory->budget - taken) / BLOCK_SIZE
			   : 0);
}

void memory_return(struct memory *memory, void *data, size_t size)
{
	if (!data)
		return;
	memory->size -= size;
	if (size == BLOCK_SIZE) {
		arena_put(&memory->arena, data);
		trim(memory, 0);
	} else {
		free(data);
	}
}

void memory_remove(struct memory *memory, struct entry *entry)
{
	HASH_DEL(memory->entries, entry);
	entry->state = ENTRY_GONE;
	memory_return(memory, (void *)entry->block.data, entry->block.size);
	if (entry->n_tasks == 0)
		free(entry);
}

/* Drops the oldest of a list while there is too much. */
static void drop(struct memory *memory, struct lru *lru, size_t most,
		 size_t had_most)
{
	while (lru->oldest && (memory->size > most || lru->size > had_most)) {
		struct lru_item *item = lru->oldest;
		lru_remove(lru, item);
		memory_remove(memory, CONTAINER_OF(item, struct entry, lru));
	}
}

/* Makes room for `need` bytes more. */
static void evict(struct memory *memory, size_t need)
{
	size_t most = memory->budget > need ? memory->budget - need : 0;

	drop(memory, &memory->had, most, HAD_MOST);
	drop(memory, &memory->ahead, most, SIZE_MAX);
}

void *memory_buffer(struct memory *memory, size_t size)
{
	void *data;

	evict(memory, size);
	if (size == BLOCK_SIZE) {
		data = arena_get(&memory->arena);
	} else {
		trim(memory, size);
		data = malloc(size);
	}
	if (data)
		memory->size += size;
	return data;
}

void *memory_ahead(struct memory *memory)
{
	size_t n = memory->arena.n_ready + 1;

	if (memory->touching || n > N_READY ||
	    memory->size + n * BLOCK_SIZE > memory->budget)
		return NULL;
	void *data = arena_get_bare(&memory->arena);
	memory->touching = data;
	return data;
}

void memory_touched(struct memory *memory, void *data)
{
	memory->touching = false;
	arena_put(&memory->arena, data);
}

void memory_pin(struct memory *memory, struct entry *entry)
{
	if (entry->n_pins++ == 0)
		lru_remove(lru_of(memory, entry), &entry->lru);
}

void memory_unpin(struct memory *memory, struct entry *entry)
{
	entry->n_pins--;
	if (entry->n_pins == 0)
		memory_settle(memory, entry);
}

void memory_settle(struct memory *memory, struct entry *entry)
{
	if (entry->n_pins == 0)
		lru_add(lru_of(memory, entry), &entry->lru, entry->block.size);
	evict(memory, 0);
}

struct entry *memory_find(const struct memory *memory, struct digest key)
{
	struct entry *entry = NULL;

	HASH_FIND(hh, memory->entries, &key, sizeof(key), entry);
	return entry;
}

struct entry *memory_add(struct memory *memory,
			 const struct block_request *request)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	if (!entry)
		return NULL;
	entry->key = request->key;
	entry->request = *request;
	entry->state = ENTRY_QUEUED;
	HASH_ADD(hh, memory->entries, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	return entry;
}

void memory_done(struct memory *memory)
{
	struct entry *entry, *next;

	HASH_ITER(hh, memory->entries, entry, next)
	{
		memory_remove(memory, entry);
	}
	arena_done(&memory->arena);
}
