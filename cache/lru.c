#include "cache/lru.h"

void lru_add(struct lru *lru, struct lru_item *item, size_t size)
{
	item->older = lru->newest;
	item->newer = NULL;
	item->size = size;
	if (lru->newest)
		lru->newest->newer = item;
	else
		lru->oldest = item;
	lru->newest = item;
	lru->size += size;
}

void lru_remove(struct lru *lru, struct lru_item *item)
{
	if (item->newer)
		item->newer->older = item->older;
	else
		lru->newest = item->older;
	if (item->older)
		item->older->newer = item->newer;
	else
		lru->oldest = item->newer;
	lru->size -= item->size;
}
