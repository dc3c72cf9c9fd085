#include "merge/engine/shelf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/node.h"
#include "merge/source/source.h"

int shelf_new(struct shelf **ret)
{
	struct shelf *shelf = calloc(1, sizeof(*shelf));
	if (!shelf)
		return -ENOMEM;

	*ret = shelf;
	return 0;
}

void shelf_free(struct shelf *shelf)
{
	if (!shelf)
		return;
	node_set_done(&shelf->nodes);
	for (size_t i = 0; i < shelf->n_sources; i++)
		source_close(shelf->sources[i]);
	free(shelf->sources);
	free(shelf);
}

int shelf_open(struct shelf *shelf, const char *directory, const char *label,
	       struct source **ret, struct error *err)
{
	for (size_t i = 0; i < shelf->n_sources; i++) {
		struct source *source = shelf->sources[i];
		if (strcmp(source->directory, directory) == 0) {
			*ret = source;
			return 0;
		}
	}

	struct source **sources = reallocarray(
		shelf->sources, shelf->n_sources + 1, sizeof(*sources));
	if (!sources)
		return error_set(err, -ENOMEM, "out of memory");
	shelf->sources = sources;
	int r = source_open(directory, label, &sources[shelf->n_sources], err);
	if (r < 0)
		return r;
	*ret = sources[shelf->n_sources++];
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
