#include "merge/output/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A folder whose children are still to be made: files [first, end) lie in it.
 */
struct pending {
	uint32_t entry;
	size_t first, end;
	size_t depth; /* bytes of its path, the '/' behind it included */
};

struct builder {
	const char *const *paths;
	uint32_t *place;
	struct image_entry *entries;
	uint32_t n_entries;
	struct pending *queue;
	size_t n_queue;
};

int tree_compare(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	/* A '/' ends a component, so it comes before every other byte. */
	int x = *a == '/' ? 1 : *a ? (unsigned char)*a + 1 : 0;
	int y = *b == '/' ? 1 : *b ? (unsigned char)*b + 1 : 0;

	return x - y;
}

static int add_entry(struct builder *builder, const char *path, size_t length,
		     uint32_t parent, bool directory)
{
	char *copy = strndup(path, length);
	if (!copy)
		return -ENOMEM;

	const char *slash = strrchr(copy, '/');
	builder->entries[builder->n_entries++] = (struct image_entry){
		.path = copy,
		.name = slash ? slash + 1 : copy,
		.directory = directory,
		.parent = parent,
	};
	return 0;
}

/* Length of a path's component that begins at depth. */
static size_t component(const char *path, size_t depth)
{
	return strcspn(path + depth, "/");
}

static int add_children(struct builder *builder, struct pending folder)
{
	size_t depth = folder.depth;

	builder->entries[folder.entry].first = builder->n_entries;
	for (size_t i = folder.first; i < folder.end;) {
		const char *path = builder->paths[i];
		size_t length = component(path, depth);
		bool directory = path[depth + length] == '/';
		size_t end = i + 1;
		while (directory && end < folder.end &&
		       strncmp(builder->paths[end], path, depth + length + 1) ==
			       0)
			end++;

		int r = add_entry(builder, path, depth + length, folder.entry,
				  directory);
		if (r < 0)
			return r;
		uint32_t entry = builder->n_entries - 1;
		if (directory)
			builder->queue[builder->n_queue++] = (struct pending){
				.entry = entry,
				.first = i,
				.end = end,
				.depth = depth + length + 1,
			};
		else
			builder->place[i] = entry;
		builder->entries[folder.entry].n++;
		i = end;
	}
	return 0;
}

/* Upper bound of the number of entries: every '/' may begin a folder. */
static size_t bound(const char *const *paths, size_t n)
{
	size_t total = 1;

	for (size_t i = 0; i < n; i++) {
		total++;
		for (const char *p = paths[i]; *p; p++)
			total += *p == '/';
	}
	return total;
}

int tree_new(const char *const *paths, size_t n, uint32_t *place,
	     struct image_entry **ret, uint32_t *ret_n)
{
	size_t room = bound(paths, n);
	AUTO_FREE struct pending *queue = calloc(room, sizeof(*queue));
	struct builder builder = {
		.paths = paths,
		.place = place,
		.entries = calloc(room, sizeof(*builder.entries)),
		.queue = queue,
	};
	if (!queue || !builder.entries) {
		free(builder.entries);
		return -ENOMEM;
	}

	int r = add_entry(&builder, "", 0, 0, true);
	queue[builder.n_queue++] = (struct pending){.end = n};
	for (size_t at = 0; r == 0 && at < builder.n_queue; at++)
		r = add_children(&builder, queue[at]);
	if (r < 0) {
		tree_free(builder.entries, builder.n_entries);
		return r;
	}
	*ret = builder.entries;
	*ret_n = builder.n_entries;
	return 0;
}

void tree_free(struct image_entry *entries, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		free(entries[i].path);
	free(entries);
}
