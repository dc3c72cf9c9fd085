#include "merge/engine/shelf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/adapted.h"
#include "merge/engine/factor.h"
#include "merge/engine/node.h"
#include "merge/engine/row_map.h"
#include "merge/source/source.h"

int shelf_new(struct shelf **ret)
{
	AUTO(shelf) shelf = calloc(1, sizeof(*shelf));
	if (!shelf)
		return -ENOMEM;
	int r = factors_new(&shelf->factors);
	if (r < 0)
		return r;

	*ret = TAKE(shelf);
	return 0;
}

void shelf_free(struct shelf *shelf)
{
	if (!shelf)
		return;
	for (size_t i = 0; i < shelf->n_adapted; i++)
		adapted_free(shelf->adapted[i]);
	free(shelf->adapted);
	node_set_done(&shelf->nodes);
	factors_free(shelf->factors);
	for (size_t i = 0; i < shelf->n_adapters; i++)
		source_close(shelf->adapters[i]);
	free(shelf->adapters);
	for (size_t i = 0; i < shelf->n_maps; i++)
		row_map_free(shelf->maps[i]);
	free(shelf->maps);
	for (size_t i = 0; i < shelf->n_sources; i++)
		source_close(shelf->sources[i]);
	free(shelf->sources);
	free(shelf);
}

typedef int open_fn(const char *directory, const char *label,
		    struct source **ret, struct error *err);

static int find_or_open(struct source ***items, size_t *n, open_fn *open,
			const char *directory, const char *label,
			struct source **ret, struct error *err)
{
	for (size_t i = 0; i < *n; i++) {
		struct source *source = (*items)[i];
		if (strcmp(source->directory, directory) == 0) {
			*ret = source;
			return 0;
		}
	}

	struct source **sources =
		reallocarray(*items, *n + 1, sizeof(*sources));
	if (!sources)
		return error_set(err, -ENOMEM, "out of memory");
	*items = sources;
	int r = open(directory, label, &sources[*n], err);
	if (r < 0)
		return r;
	*ret = sources[(*n)++];
	return 0;
}

int shelf_open(struct shelf *shelf, const char *directory, const char *label,
	       struct source **ret, struct error *err)
{
	return find_or_open(&shelf->sources, &shelf->n_sources, source_open,
			    directory, label, ret, err);
}

int shelf_open_adapter(struct shelf *shelf, const char *directory,
		       const char *label, struct source **ret,
		       struct error *err)
{
	return find_or_open(&shelf->adapters, &shelf->n_adapters,
			    source_open_adapter, directory, label, ret, err);
}

int shelf_adapt(struct shelf *shelf, const struct adapted_terms *wanted,
		const struct adapted **ret, struct error *err)
{
	struct adapted_terms terms = *wanted;
	/* A stage may be gone before the shelf is, and another in its place. */
	bool lasts = !terms.base->donor;
	for (size_t i = 0; lasts && i < shelf->n_adapted; i++) {
		const struct adapted_terms *have =
			adapted_terms(shelf->adapted[i]);
		if (have->base == terms.base &&
		    have->adapter == terms.adapter &&
		    have->dtype == terms.dtype) {
			*ret = shelf->adapted[i];
			return 0;
		}
	}

	struct adapted **adapted = reallocarray(
		shelf->adapted, shelf->n_adapted + 1, sizeof(*adapted));
	if (!adapted)
		return error_set(err, -ENOMEM, "out of memory");
	shelf->adapted = adapted;
	terms.set = &shelf->nodes;
	terms.factors = shelf->factors;
	int r = adapted_new(&terms, &adapted[shelf->n_adapted], err);
	if (r < 0)
		return r;
	*ret = adapted[shelf->n_adapted++];
	return 0;
}

int shelf_keep_map(struct shelf *shelf, struct row_map *taken,
		   const struct row_map **ret)
{
	AUTO(row_map) map = taken;

	for (size_t i = 0; i < shelf->n_maps; i++) {
		*ret = shelf->maps[i];
		if (digest_equal(shelf->maps[i]->digest, map->digest) &&
		    shelf->maps[i]->n_inputs == map->n_inputs)
			return 0;
	}
	struct row_map **maps = reallocarray(shelf->maps, shelf->n_maps + 1,
					     sizeof(struct row_map *));
	if (!maps)
		return -ENOMEM;
	shelf->maps = maps;
	*ret = maps[shelf->n_maps++] = TAKE(map);
	return 0;
}

void shelf_make_room(struct shelf *shelf, const struct node *node)
{
	struct node_room *room = &shelf->room;

	if (node->scratch > room->scratch)
		room->scratch = node->scratch;
	if (node->n_leaves > room->n_leaves)
		room->n_leaves = node->n_leaves;
	if (node->n_rows > room->n_rows)
		room->n_rows = node->n_rows;
	if (node->row_room > room->row_room)
		room->row_room = node->row_room;
}
