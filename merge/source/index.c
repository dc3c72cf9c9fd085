#include "merge/source/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/folder.h"
#include "util/json.h"

#define MAX_INDEX ((uint64_t)256 << 20)

/* One line of weight_map, and where it stands. */
struct mapping {
	const char *tensor, *shard;
};

static int compare_shards(const void *a, const void *b)
{
	const struct mapping *x = a, *y = b;

	return strcmp(x->shard, y->shard);
}

static int add_entry(struct index *index, const struct mapping *mapping)
{
	size_t n = index->n_shards;
	if (n == 0 || strcmp(index->shards[n - 1], mapping->shard) != 0) {
		index->shards[n] = strdup(mapping->shard);
		if (!index->shards[n])
			return -ENOMEM;
		index->n_shards++;
	}

	struct index_entry *entry = &index->entries[index->n_entries];
	entry->tensor = strdup(mapping->tensor);
	entry->shard = index->n_shards - 1;
	if (!entry->tensor)
		return -ENOMEM;
	index->n_entries++;
	return 0;
}

/* Collects the mappings, sorted by shard. */
static int read_map(const cJSON *map, const char *path,
		    struct mapping *mappings, struct error *err)
{
	size_t n = 0;

	for (const cJSON *item = map->child; item; item = item->next) {
		if (!cJSON_IsString(item))
			return error_set(err, -EINVAL,
					 "%s: tensor %.200s: weight_map must "
					 "map to the name of a shard",
					 path, item->string);
		if (!folder_is_inside(item->valuestring))
			return error_set(
				err, -EINVAL,
				"%s: tensor %.200s: the shard '%.200s' leads "
				"out of the model's directory",
				path, item->string, item->valuestring);
		mappings[n++] =
			(struct mapping){item->string, item->valuestring};
	}
	qsort(mappings, n, sizeof(*mappings), compare_shards);
	return 0;
}

int index_parse(const char *text, size_t size, const char *path,
		struct index *ret, struct error *err)
{
	AUTO(cJSON) root = NULL;
	int r = json_parse(text, size, path, &root, err);
	if (r < 0)
		return r;
	const cJSON *map =
		cJSON_IsObject(root)
			? cJSON_GetObjectItemCaseSensitive(root, "weight_map")
			: NULL;
	if (!cJSON_IsObject(map))
		return error_set(err, -EINVAL, "%s: no weight_map in it", path);

	size_t n = (size_t)cJSON_GetArraySize(map);
	AUTO_FREE struct mapping *mappings = calloc(n + 1, sizeof(*mappings));
	if (!mappings)
		return error_set(err, -ENOMEM, "out of memory");
	r = read_map(map, path, mappings, err);
	if (r < 0)
		return r;

	struct index index = {
		.shards = calloc(n + 1, sizeof(char *)),
		.entries = calloc(n + 1, sizeof(*index.entries)),
	};
	r = index.shards && index.entries ? 0 : -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add_entry(&index, &mappings[i]);
	if (r < 0) {
		index_done(&index);
		return error_set(err, r, "out of memory");
	}
	*ret = index;
	return 0;
}

int index_read(const struct file *file, struct index *ret, struct error *err)
{
	if (file->size > MAX_INDEX)
		return error_set(err, -EINVAL, "%s: absurdly large",
				 file->path);

	AUTO_FREE char *text = malloc(file->size + 1);
	if (!text)
		return error_set(err, -ENOMEM, "out of memory");
	int r = file_read(file, 0, file->size, text);
	if (r < 0)
		return error_set(err, r, "%s: %s", file->path, strerror(-r));
	return index_parse(text, file->size, file->path, ret, err);
}

void index_done(struct index *index)
{
	for (size_t i = 0; i < index->n_shards; i++)
		free(index->shards[i]);
	for (size_t i = 0; i < index->n_entries; i++)
		free(index->entries[i].tensor);
	free(index->shards);
	free(index->entries);
	*index = (struct index){0};
}
