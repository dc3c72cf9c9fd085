/*
 * Things in the order of their last use, with the sum of their sizes.
 *
 * No thread safety: the caller locks.
 */
#ifndef CACHE_LRU_H
#define CACHE_LRU_H

#include <stddef.h>

struct lru_item { /* embedded in its owner */
	struct lru_item *newer, *older;
	size_t size;
};

struct lru { /* zeroed is empty */
	struct lru_item *newest, *oldest;
	size_t size;
};

/* As the newest. */
void lru_add(struct lru *lru, struct lru_item *item, size_t size);
void lru_remove(struct lru *lru, struct lru_item *item);

#endif
