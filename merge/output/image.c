#include "merge/output/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/engine/plan.h"
#include "merge/output/config.h"
#include "merge/output/files.h"
#include "merge/output/image_private.h"
#include "merge/output/layout.h"
#include "merge/output/tree.h"
#include "merge/recipe/recipe.h"
#include "merge/source/file.h"
#include "merge/source/source.h"

struct image {
	struct plan *plan;
	struct image_entry *entries; /* (n_entries,) owned */
	uint32_t n_entries;
	struct extents *extents; /* (n_entries,) owned */
	struct layout *layout;	 /* owned, as all texts below */
	char *config, *card;
	struct companion *companions;
	size_t n_companions;
	uint64_t size;
	struct timespec time;
};

/* A file on its way to an entry. */
struct draft {
	const char *path;
	struct extents extents;
};

struct drafts {
	struct draft *items; /* (n,) */
	size_t n;
};

const struct extents *image_extents(const struct image *image, uint32_t entry)
{
	return &image->extents[entry];
}

const struct file *image_copy_of(const struct image *image, uint32_t entry)
{
	const struct extents *extents = image_extents(image, entry);
	const struct extent *extent = extents->items;

	if (extents->n != 1 || extent->kind != EXTENT_COPY ||
	    extent->copy.offset != 0 || extent->size != extent->copy.file->size)
		return NULL;
	return extent->copy.file;
}

const struct file *image_copied(const struct image *image, uint32_t entry,
				uint64_t offset, uint64_t *ret_offset,
				uint64_t *ret_size)
{
	const struct extent *extent =
		extents_find(image_extents(image, entry), offset);
	uint64_t within = offset - extent->offset;

	if (extent->kind != EXTENT_COPY)
		return NULL;
	*ret_offset = extent->copy.offset + within;
	*ret_size = extent->size - within;
	return extent->copy.file;
}

const char *image_header(const struct image *image, uint32_t entry,
			 uint64_t *ret_size)
{
	const struct extents *extents = image_extents(image, entry);
	const struct extent *extent = extents->items;

	*ret_size = 0;
	if (extents->n < 2 || extent->kind != EXTENT_LITERAL)
		return NULL;
	*ret_size = extent->size;
	return extent->literal;
}

static void hash_extent(struct hasher *hasher, const struct extent *extent)
{
	hasher_u64(hasher, extent->kind);
	hasher_u64(hasher, extent->size);
	switch (extent->kind) {
	case EXTENT_LITERAL:
		hasher_bytes(hasher, extent->literal, extent->size);
		break;
	case EXTENT_COPY:
		hasher_digest(hasher, extent->copy.file->identity);
		hasher_u64(hasher, extent->copy.offset);
		break;
	case EXTENT_TENSOR:
		hasher_digest(hasher, extent->tensor->digest);
		break;
	}
}

bool image_file_key(const struct image *image, uint32_t entry,
		    struct digest *ret)
{
	const struct extents *extents = image_extents(image, entry);
	struct hasher *hasher = hasher_new("image file");
	bool literal = true;

	for (size_t i = 0; hasher && i < extents->n; i++) {
		hash_extent(hasher, &extents->items[i]);
		literal &= extents->items[i].kind == EXTENT_LITERAL;
	}
	bool named = hasher && !literal && !image_copy_of(image, entry);
	if (named)
		*ret = hasher_finish(hasher);
	hasher_free(hasher);
	return named;
}

static int draft_text(struct drafts *drafts, const char *path, const char *text,
		      size_t size)
{
	struct draft *draft = &drafts->items[drafts->n++];

	draft->path = path;
	return extents_literal(&draft->extents, text, size);
}

static int draft_shard(struct drafts *drafts, const struct shard *shard)
{
	struct draft *draft = &drafts->items[drafts->n++];

	draft->path = shard->name;
	int r = extents_literal(&draft->extents, shard->header,
				shard->header_size);
	for (size_t i = 0; r == 0 && i < shard->n_tensors; i++)
		r = extents_tensor(&draft->extents, shard->tensors[i].tensor);
	return r;
}

static bool is_drafted(const struct drafts *drafts, const char *path)
{
	for (size_t i = 0; i < drafts->n; i++) {
		if (strcmp(drafts->items[i].path, path) == 0)
			return true;
	}
	return false;
}

/* What we make comes first; a companion never takes the place of it. */
static int draft_companions(struct drafts *drafts, const struct image *image)
{
	struct drafts made = *drafts;
	int r = 0;

	for (size_t i = 0; r == 0 && i < image->n_companions; i++) {
		const struct companion *companion = &image->companions[i];
		if (is_drafted(&made, companion->path))
			continue;
		struct draft *draft = &drafts->items[drafts->n++];
		draft->path = companion->path;
		r = extents_copy(&draft->extents, companion->file, 0,
				 companion->file->size);
	}
	return r;
}

static int draft_all(struct drafts *drafts, const struct image *image)
{
	const struct recipe_file *recipe = image->plan->recipe_file;
	const struct layout *layout = image->layout;

	int r = draft_text(drafts, "config.json", image->config,
			   strlen(image->config));
	if (r == 0)
		r = draft_text(drafts, "README.md", image->card,
			       strlen(image->card));
	if (r == 0)
		r = draft_text(drafts, "mergekit_config.yml", recipe->text,
			       recipe->size);
	if (r == 0 && layout->index)
		r = draft_text(drafts, "model.safetensors.index.json",
			       layout->index, strlen(layout->index));
	for (size_t i = 0; r == 0 && i < layout->n_shards; i++)
		r = draft_shard(drafts, &layout->shards[i]);
	return r < 0 ? r : draft_companions(drafts, image);
}

static int compare_drafts(const void *a, const void *b)
{
	const struct draft *x = a, *y = b;

	return tree_compare(x->path, y->path);
}

/* Hands the drafts' extents over to entries. */
static int place_drafts(struct image *image, struct drafts *drafts)
{
	AUTO_FREE const char **paths = calloc(drafts->n, sizeof(*paths));
	AUTO_FREE uint32_t *place = calloc(drafts->n, sizeof(*place));
	if (!paths || !place)
		return -ENOMEM;

	qsort(drafts->items, drafts->n, sizeof(*drafts->items), compare_drafts);
	for (size_t i = 0; i < drafts->n; i++)
		paths[i] = drafts->items[i].path;
	int r = tree_new(paths, drafts->n, place, &image->entries,
			 &image->n_entries);
	if (r < 0)
		return r;
	image->extents = calloc(image->n_entries, sizeof(*image->extents));
	if (!image->extents)
		return -ENOMEM;
	for (size_t i = 0; i < drafts->n; i++) {
		struct extents *extents = &image->extents[place[i]];
		*extents = drafts->items[i].extents;
		drafts->items[i].extents = (struct extents){0};
		image->entries[place[i]].size = extents->size;
		image->size += extents->size;
	}
	return 0;
}

static int make_entries(struct image *image)
{
	size_t room = image->layout->n_shards + image->n_companions + 4;
	struct drafts drafts = {
		.items = calloc(room, sizeof(*drafts.items)),
	};
	if (!drafts.items)
		return -ENOMEM;

	int r = draft_all(&drafts, image);
	if (r == 0)
		r = place_drafts(image, &drafts);
	for (size_t i = 0; i < drafts.n; i++)
		extents_done(&drafts.items[i].extents);
	free(drafts.items);
	return r;
}

static void take_newer(struct timespec *newest, struct timespec time)
{
	if (time.tv_sec > newest->tv_sec ||
	    (time.tv_sec == newest->tv_sec && time.tv_nsec > newest->tv_nsec))
		*newest = time;
}

static void find_time(struct image *image)
{
	struct stat st;
	if (stat(image->plan->recipe_file->path, &st) == 0)
		take_newer(&image->time, st.st_mtim);

	for (size_t i = 0; i < image->plan->n_sources; i++) {
		const struct source *source = image->plan->sources[i];
		for (size_t j = 0; j < source->n_files; j++)
			take_newer(&image->time,
				   source->files[j]->stat.st_mtim);
	}
	for (size_t i = 0; i < image->n_companions; i++)
		take_newer(&image->time,
			   image->companions[i].file->stat.st_mtim);
}

int image_new(struct plan *plan, const struct image_options *options,
	      struct image **ret, struct error *err)
{
	AUTO(image) image = calloc(1, sizeof(*image));
	if (!image)
		return error_set(err, -ENOMEM, "out of memory");
	image->plan = plan;

	int r = config_text(plan, &image->config, err);
	if (r < 0)
		return r;
	r = files_beside(plan, &image->companions, &image->n_companions, err);
	if (r < 0)
		return r;
	r = card_text(plan, options->title, &image->card);
	if (r == 0)
		r = layout_new(plan->tensors, plan->n_tensors,
			       options->shard_size, &image->layout);
	if (r == 0)
		r = make_entries(image);
	if (r < 0)
		return error_set(err, r, "out of memory");
	find_time(image);
	*ret = TAKE(image);
	return 0;
}

/* The files of one image below its folder. */
static int draft_image(struct drafts *drafts, const struct image *image,
		       const char *name)
{
	for (uint32_t i = 0; i < image->n_entries; i++) {
		struct draft *draft = &drafts->items[drafts->n];
		char *path = NULL;
		if (image->entries[i].directory)
			continue;
		if (asprintf(&path, "%s/%s", name, image->entries[i].path) < 0)
			return -ENOMEM;
		draft->path = path;
		drafts->n++;
		int r = extents_clone(&image->extents[i], &draft->extents);
		if (r < 0)
			return r;
	}
	return 0;
}

int image_join(const struct image *const *images, const char *const *names,
	       size_t n, struct image **ret)
{
	AUTO(image) image = calloc(1, sizeof(*image));
	struct drafts drafts = {0};
	size_t room = 1;
	for (size_t i = 0; i < n; i++)
		room += images[i]->n_entries;
	drafts.items = calloc(room, sizeof(*drafts.items));
	int r = image && drafts.items ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n; i++) {
		take_newer(&image->time, images[i]->time);
		r = draft_image(&drafts, images[i], names[i]);
	}
	if (r == 0)
		r = place_drafts(image, &drafts);
	for (size_t i = 0; i < drafts.n; i++) {
		extents_done(&drafts.items[i].extents);
		free((char *)drafts.items[i].path);
	}
	free(drafts.items);
	if (r == 0)
		*ret = TAKE(image);
	return r;
}

void image_free(struct image *image)
{
	if (!image)
		return;
	for (uint32_t i = 0; image->extents && i < image->n_entries; i++)
		extents_done(&image->extents[i]);
	free(image->extents);
	tree_free(image->entries, image->n_entries);
	layout_free(image->layout);
	companions_free(image->companions, image->n_companions);
	free(image->config);
	free(image->card);
	free(image);
}

const struct image_entry *image_entries(const struct image *image,
					uint32_t *ret_n)
{
	*ret_n = image->n_entries;
	return image->entries;
}

const struct image_entry *image_lookup(const struct image *image,
				       uint32_t parent, const char *name)
{
	const struct image_entry *folder = &image->entries[parent];
	uint32_t low = folder->first, high = folder->first + folder->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, image->entries[middle].name);
		if (order == 0)
			return &image->entries[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

void image_find_tensor(const struct image *image,
		       const struct output_tensor *tensor,
		       const char **ret_path, uint64_t *ret_offset)
{
	for (size_t i = 0; i < image->layout->n_shards; i++) {
		const struct shard *shard = &image->layout->shards[i];

		for (size_t j = 0; j < shard->n_tensors; j++) {
			if (shard->tensors[j].tensor != tensor)
				continue;
			*ret_path = shard->name;
			*ret_offset = shard->tensors[j].offset;
			return;
		}
	}
}

uint64_t image_memory(const struct image *image)
{
	uint64_t size = 0;

	for (size_t i = 0; i < image->n_companions; i++)
		size += file_memory(image->companions[i].file);
	return size;
}

uint64_t image_size(const struct image *image)
{
	return image->size;
}

struct timespec image_time(const struct image *image)
{
	return image->time;
}
