/*
 * The names of a source's tensors by their canonical spelling, see
 * arch_canonical(); those that clash are not found.
 */
#ifndef MERGE_ENGINE_SPELLING_H
#define MERGE_ENGINE_SPELLING_H

#include <stddef.h>

struct source;

struct spelling {
	char *canonical;  /* owned */
	const char *name; /* borrowed from the source */
};

struct spellings {
	struct spelling *items; /* (n,) sorted; owned */
	size_t n;
};

/* 0 or -ENOMEM; *ret needs spellings_done() either way. */
int spellings_init(struct spellings *ret, const struct source *source);
void spellings_done(struct spellings *spellings);

/* The one name of this canonical spelling, or NULL. */
const char *spellings_find(const struct spellings *spellings,
			   const char *canonical);

#endif
