/* What a donor gives to the output beside its weights. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/source/file.h"
#include "merge/source/folder.h"
#include "merge/source/overlay.h"
#include "merge/source/source.h"

#define MAX_DEPTH 16
#define MAX_FILES 10000

struct listing {
	const struct folder *folder;
	struct companion *items; /* (n,) */
	size_t n;
	struct notes *notes;
	struct error *err;
};

static bool ends_in(const char *name, const char *const *endings, size_t n)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < n; i++) {
		size_t end = strlen(endings[i]);
		if (length > end &&
		    strcasecmp(name + length - end, endings[i]) == 0)
			return true;
	}
	return false;
}

static bool is_weights(const char *name)
{
	static const char *const endings[] = {
		".safetensors",
		".bin",
		".pt",
		".pth",
		".ckpt",
		".gguf",
		".h5",
		".msgpack",
		".onnx",
		".npz",
		".tflite",
		".mlmodel",
		".safetensors.index.json",
		".bin.index.json",
	};

	return ends_in(name, endings, ARRAY_SIZE(endings));
}

static bool is_noise(const char *name)
{
	static const char *const endings[] = {".md",  ".png",  ".jpg", ".jpeg",
					      ".gif", ".webp", ".svg"};

	return *name == '.' || strcmp(name, "mergekit_config.yml") == 0 ||
	       ends_in(name, endings, ARRAY_SIZE(endings));
}

/* Takes ownership of the companion's file, on failure too. */
static int add_companion(struct listing *listing, struct companion companion,
			 const char *relative)
{
	companion.path = strdup(relative);
	struct companion *items =
		reallocarray(listing->items, listing->n + 1, sizeof(*items));
	if (items)
		listing->items = items;
	if (!items || !companion.path) {
		file_close(companion.file);
		free(companion.path);
		return error_set(listing->err, -ENOMEM, "out of memory");
	}
	items[listing->n++] = companion;
	return 0;
}

static int add_file(struct listing *listing, const char *relative)
{
	if (listing->n == MAX_FILES)
		return error_set(listing->err, -EINVAL,
				 "%s: more than %d files in it",
				 listing->folder->path, MAX_FILES);

	struct error why = {0};
	struct companion companion = {0};
	int r = folder_open(listing->folder, relative, &companion.file, &why);
	if (r == -ENOMEM)
		return error_set(listing->err, r, "out of memory");
	if (r < 0) {
		notes_add(listing->notes, "left out: %s",
			  r == -ENOENT ? relative : why.text);
		return 0;
	}
	return add_companion(listing, companion, relative);
}

static int list_folder(struct listing *listing, const char *relative,
		       unsigned depth);

static int list_entry(struct listing *listing, const char *relative,
		      const struct dirent *entry, unsigned depth)
{
	const char *name = entry->d_name;
	bool top = *relative == '\0';
	if (is_noise(name) || (top && strcmp(name, "config.json") == 0))
		return 0;

	AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s%s%s", relative, top ? "" : "/", name) < 0) {
		path = NULL;
		return error_set(listing->err, -ENOMEM, "out of memory");
	}
	if (entry->d_type == DT_DIR)
		return depth < MAX_DEPTH ? list_folder(listing, path, depth + 1)
					 : 0;
	return is_weights(name) ? 0 : add_file(listing, path);
}

static int list_folder(struct listing *listing, const char *relative,
		       unsigned depth)
{
	AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s/%s", listing->folder->real, relative) < 0) {
		path = NULL;
		return error_set(listing->err, -ENOMEM, "out of memory");
	}
	DIR *dir = opendir(path);
	if (!dir)
		return error_set(listing->err, -errno, "%s: %s", path,
				 strerror(errno));

	int r = 0;
	for (const struct dirent *entry; r == 0 && (entry = readdir(dir));)
		r = list_entry(listing, relative, entry, depth);
	closedir(dir);
	return r;
}

static int compare_companions(const void *a, const void *b)
{
	const struct companion *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* Whether an adapter of the source has a say in it. */
static bool has_overlay(const struct source *source)
{
	for (; source && !source->made; source = source->donor) {
		if (source->overlay)
			return true;
	}
	return false;
}

static bool is_listed(const struct listing *listing, const char *relative)
{
	for (size_t i = 0; i < listing->n; i++) {
		if (strcmp(listing->items[i].path, relative) == 0)
			return true;
	}
	return false;
}

static int add_found(struct listing *listing, const struct source *source,
		     const char *relative)
{
	struct companion companion = {0};
	if (is_listed(listing, relative))
		return 0;
	int r = source_find_file(source, relative, &companion.file,
				 listing->err);
	if (r == -ENOENT)
		return 0;
	return r < 0 ? r : add_companion(listing, companion, relative);
}

/* Tokenizer files are the adapter's where it has them. */
static int lay_over(struct listing *listing, const struct source *source)
{
	size_t n = 0, n_listed = listing->n;
	int r = 0;

	listing->n = 0;
	for (size_t i = 0; i < n_listed; i++) {
		struct companion item = listing->items[i];
		if (r == 0 && overlay_is_tokenizer(item.path)) {
			file_close(TAKE(item.file));
			r = source_find_file(source, item.path, &item.file,
					     listing->err);
		}
		if (item.file)
			listing->items[n++] = item;
		else
			free(item.path);
		if (r == -ENOENT)
			r = 0;
	}
	listing->n = n;
	for (size_t i = 0; r == 0 && overlay_files[i]; i++)
		r = add_found(listing, source, overlay_files[i]);
	return r;
}

/* The companions that were computed. */
static int list_made(struct listing *listing, const struct source *source)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < source->n_made; i++) {
		struct companion companion = {0};
		r = file_share(source->made[i].file, &companion.file,
			       listing->err);
		if (r == 0)
			r = add_companion(listing, companion,
					  source->made[i].path);
	}
	return r;
}

int source_companions(const struct source *source, struct companion **ret,
		      size_t *ret_n, struct notes *notes, struct error *err)
{
	const struct source *root = source;
	while (root->donor && !root->made)
		root = root->donor;

	struct folder folder = {0};
	struct listing listing = {
		.folder = &folder,
		.notes = notes,
		.err = err,
	};
	int r = root->made ? list_made(&listing, root)
			   : folder_init(&folder, root->directory, err);
	if (r == 0 && !root->made)
		r = list_folder(&listing, "", 0);
	if (r == 0 && has_overlay(source))
		r = lay_over(&listing, source);
	folder_done(&folder);
	if (r < 0) {
		companions_free(listing.items, listing.n);
		return r;
	}
	if (listing.n > 0)
		qsort(listing.items, listing.n, sizeof(*listing.items),
		      compare_companions);
	*ret = listing.items;
	*ret_n = listing.n;
	return 0;
}

void companions_free(struct companion *companions, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		file_close(companions[i].file);
		free(companions[i].path);
	}
	free(companions);
}
