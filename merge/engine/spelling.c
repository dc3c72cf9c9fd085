#include "merge/engine/spelling.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/source/source.h"

static int compare_spellings(const void *a, const void *b)
{
	const struct spelling *x = a, *y = b;

	return strcmp(x->canonical, y->canonical);
}

int spellings_init(struct spellings *spellings, const struct source *source)
{
	spellings->n = 0;
	spellings->items =
		calloc(source->n_tensors + 1, sizeof(*spellings->items));
	if (!spellings->items)
		return -ENOMEM;
	for (size_t i = 0; i < source->n_tensors; i++) {
		struct spelling *spelling = &spellings->items[i];
		spelling->name = source->tensors[i].name;
		spelling->canonical = arch_canonical(spelling->name);
		if (!spelling->canonical)
			return -ENOMEM;
		spellings->n++;
	}
	qsort(spellings->items, spellings->n, sizeof(*spellings->items),
	      compare_spellings);
	return 0;
}

void spellings_done(struct spellings *spellings)
{
	for (size_t i = 0; i < spellings->n; i++)
		free(spellings->items[i].canonical);
	free(spellings->items);
}

const char *spellings_find(const struct spellings *spellings,
			   const char *canonical)
{
	struct spelling key = {.canonical = (char *)canonical};
	const struct spelling *found =
		bsearch(&key, spellings->items, spellings->n, sizeof(key),
			compare_spellings);
	if (!found)
		return NULL;

	const struct spelling *end = spellings->items + spellings->n;
	if ((found > spellings->items &&
	     compare_spellings(found - 1, &key) == 0) ||
	    (found + 1 < end && compare_spellings(found + 1, &key) == 0))
		return NULL;
	return found->name;
}
