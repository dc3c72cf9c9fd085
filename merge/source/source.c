#include "merge/source/source.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/folder.h"
#include "merge/source/index.h"
#include "merge/source/overlay.h"
#include "merge/source/safetensors.h"
#include "merge/source/torch.h"
#include "util/json.h"
#include "util/range.h"
#include "util/text.h"

#define WHOLE "model.safetensors"
#define PYTORCH "pytorch_model.bin"
#define INDEX ".index.json" /* behind the name of a whole file */
#define MAX_LAYERS 100000

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

/* Someone cloned the repository without its large files. */
static int check_pointer(const struct file *file, struct error *err)
{
	static const char mark[] = "version https://git-lfs.github.com/spec/";
	size_t length = sizeof(mark) - 1;
	char head[sizeof(mark)];

	if (file->size < length || file->size > 1024 ||
	    file_read(file, 0, length, head) < 0 ||
	    memcmp(head, mark, length) != 0)
		return 0;
	return error_set(err, -EINVAL,
			 "%s is a Git LFS pointer, not the file itself: run "
			 "git lfs pull in that directory",
			 file->path);
}

/* Takes a file's tensors into the source; both stay unsorted until the end. */
static int add_tensors(struct source *source, const struct file *file,
		       struct safetensors *safetensors, struct error *err)
{
	size_t n = source->n_tensors + safetensors->n_tensors;
	struct tensor *tensors =
		reallocarray(source->tensors, n + 1, sizeof(*tensors));
	if (!tensors)
		return no_memory(err);
	source->tensors = tensors;
	for (size_t i = 0; i < safetensors->n_tensors; i++) {
		struct tensor *tensor = &tensors[source->n_tensors++];
		*tensor = safetensors->tensors[i];
		tensor->file = file;
		safetensors->tensors[i].name = NULL;
	}
	return 0;
}

/* The first bytes of a file, the whole header included. */
static int read_head(const struct file *file, unsigned char **ret,
		     size_t *ret_size, struct error *err)
{
	unsigned char length[8] = {0};
	uint64_t size = 0;
	int r = file_read(file, 0, min_u64(8, file->size), length);
	for (unsigned i = 0; i < 8; i++)
		size |= (uint64_t)length[i] << (8 * i);
	/* A length beyond reason is the parser's to refuse. */
	size = size > 100000000 ? 8 : min_u64(8 + size, file->size);
	if (file->size < 8)
		size = file->size;

	AUTO_FREE unsigned char *head = malloc(size + 1);
	if (!head)
		return no_memory(err);
	if (r == 0)
		r = file_read(file, 0, size, head);
	if (r < 0)
		return error_set(err, r, "%s: %s", file->path, strerror(-r));
	*ret = TAKE(head);
	*ret_size = size;
	return 0;
}

static int read_header(const struct file *file, struct safetensors *ret,
		       struct error *err)
{
	AUTO_FREE unsigned char *head = NULL;
	size_t size = 0;

	int r = read_head(file, &head, &size, err);
	return r < 0 ? r
		     : safetensors_parse(head, size, file->size, file->path,
					 ret, err);
}

static int add_shard(struct source *source, const struct folder *folder,
		     const char *name, struct error *err)
{
	struct file **files = reallocarray(source->files, source->n_files + 1,
					   sizeof(struct file *));
	if (!files)
		return no_memory(err);
	source->files = files;

	struct file *file = NULL;
	int r = folder_open(folder, name, &file, err);
	if (r == -ENOENT)
		return error_set(err, -EINVAL, "%s: shard %s does not exist",
				 folder->path, name);
	if (r < 0)
		return r;
	files[source->n_files++] = file;
	r = check_pointer(file, err);
	if (r < 0)
		return r;

	struct safetensors safetensors = {0};
	r = text_ends(name, ".bin") ? torch_read(file, &safetensors, err)
				    : read_header(file, &safetensors, err);
	if (r == 0)
		r = add_tensors(source, file, &safetensors, err);
	file_map(file);
	safetensors_done(&safetensors);
	return r;
}

static int compare_tensors(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int sort_tensors(struct source *source, struct error *err)
{
	qsort(source->tensors, source->n_tensors, sizeof(*source->tensors),
	      compare_tensors);
	for (size_t i = 1; i < source->n_tensors; i++) {
		const struct tensor *a = &source->tensors[i - 1];
		const struct tensor *b = &source->tensors[i];
		if (strcmp(a->name, b->name) == 0)
			return error_set(err, -EINVAL,
					 "tensor %s is in both %s and %s",
					 a->name, a->file->path, b->file->path);
	}
	return 0;
}

/* Every tensor that the index names must be in the shard it names. */
static int check_index(const struct source *source, const struct index *index,
		       const char *path, struct error *err)
{
	for (size_t i = 0; i < index->n_entries; i++) {
		const struct index_entry *entry = &index->entries[i];
		const struct tensor *tensor =
			source_find(source, entry->tensor);
		if (tensor && tensor->file == source->files[entry->shard])
			continue;
		return error_set(
			err, -EINVAL,
			"%s: tensor %s is not in %s, where the index has it",
			path, entry->tensor, index->shards[entry->shard]);
	}
	return 0;
}

static int open_indexed(struct source *source, const struct folder *folder,
			struct file *file, struct error *err)
{
	struct index index = {0};
	int r = check_pointer(file, err);
	if (r == 0)
		r = index_read(file, &index, err);
	for (size_t i = 0; r == 0 && i < index.n_shards; i++)
		r = add_shard(source, folder, index.shards[i], err);
	if (r == 0)
		r = sort_tensors(source, err);
	if (r == 0)
		r = check_index(source, &index, file->path, err);
	index_done(&index);
	return r;
}

/* The one *.safetensors of a directory. -ENOENT without a sentence if there is
 * none. */
static int find_single(const struct folder *folder, char **ret,
		       struct error *err)
{
	unsigned n = 0;
	DIR *dir = opendir(folder->path);
	if (!dir)
		return error_set(err, -errno, "%s: %s", folder->path,
				 strerror(errno));

	for (const struct dirent *entry; (entry = readdir(dir));) {
		if (text_ends(entry->d_name, ".safetensors") && ++n == 1)
			*ret = strdup(entry->d_name);
	}
	closedir(dir);
	if (n > 1)
		return error_set(err, -EINVAL,
				 "%s: several *.safetensors but no " WHOLE INDEX
				 " to say which belong together",
				 folder->path);
	if (n == 0)
		return -ENOENT;
	return *ret ? 0 : no_memory(err);
}

/* What a directory has in place of weights. */
static int explain_none(const struct folder *folder, struct error *err)
{
	static const struct {
		const char *ending, *why;
	} others[] = {
		{".bin", "of PyTorch's files only " PYTORCH " is read"},
		{".pt", "of PyTorch's files only " PYTORCH " is read"},
		{".pth", "of PyTorch's files only " PYTORCH " is read"},
		{".gguf", "GGUF files are not supported"},
	};
	const char *why = NULL;
	char other[256] = "";
	DIR *dir = opendir(folder->path);
	if (!dir)
		return error_set(err, -errno, "%s: %s", folder->path,
				 strerror(errno));

	for (const struct dirent *entry; !why && (entry = readdir(dir));) {
		for (size_t i = 0; !why && i < ARRAY_SIZE(others); i++) {
			if (!text_ends(entry->d_name, others[i].ending))
				continue;
			why = others[i].why;
			snprintf(other, sizeof(other), "%s", entry->d_name);
		}
	}
	closedir(dir);
	if (why)
		return error_set(err, -EINVAL,
				 "%s/%s: %s; convert it to safetensors",
				 folder->path, other, why);
	return error_set(err, -ENOENT,
			 "%s: no weights in it (" WHOLE ", or " WHOLE INDEX
			 " and its shards)",
			 folder->path);
}

/* A whole file, or its index and shards. -ENOENT without a sentence if there is
 * neither. */
static int open_named(struct source *source, const struct folder *folder,
		      const char *whole, struct error *err)
{
	AUTO(file) index = NULL;
	AUTO(file) single = NULL;
	char name[64];

	snprintf(name, sizeof(name), "%s" INDEX, whole);
	int r = folder_open(folder, name, &index, err);
	if (r == 0)
		return open_indexed(source, folder, index, err);
	if (r == -ENOENT)
		r = folder_open(folder, whole, &single, err);
	if (r == 0)
		r = add_shard(source, folder, whole, err);
	return r < 0 ? r : sort_tensors(source, err);
}

static int open_weights(struct source *source, const struct folder *folder,
			struct error *err)
{
	AUTO_FREE char *name = NULL;

	int r = open_named(source, folder, WHOLE, err);
	if (r != -ENOENT)
		return r;
	r = find_single(folder, &name, err);
	if (r == 0) {
		r = add_shard(source, folder, name, err);
		return r < 0 ? r : sort_tensors(source, err);
	}
	if (r == -ENOENT)
		r = open_named(source, folder, PYTORCH, err);
	return r == -ENOENT ? explain_none(folder, err) : r;
}

/* Counts of layers become allocations later, so they are judged here. */
static int check_layers(const struct source *source, const char *path,
			struct error *err)
{
	static const char *const keys[] = {"num_hidden_layers", "n_layer",
					   "num_layers", "n_layers",
					   "text_config.num_hidden_layers"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const cJSON *item = json_at(source->config, keys[i]);
		uint64_t value;
		if (!item || cJSON_IsNull(item))
			continue;
		if (!json_u64(item, &value) || value > MAX_LAYERS)
			return error_set(err, -EINVAL,
					 "%s: %s must be a number of layers "
					 "from 0 to %d",
					 path, keys[i], MAX_LAYERS);
	}
	return 0;
}

static int open_config(struct source *source, const struct folder *folder,
		       const char *name, const char *what, struct error *err)
{
	AUTO(file) file = NULL;
	int r = folder_open(folder, name, &file, err);
	if (r == -ENOENT)
		return error_set(err, r, "%s: no %s in it, so it is not %s",
				 folder->path, name, what);
	if (r == 0)
		r = check_pointer(file, err);
	if (r < 0)
		return r;
	r = file_load(file, 16 << 20, &source->config_text, err);
	if (r < 0)
		return r;
	r = json_parse(source->config_text, file->size, file->path,
		       &source->config, err);
	if (r < 0)
		return r;
	if (!cJSON_IsObject(source->config))
		return error_set(err, -EINVAL, "%s: not a JSON object",
				 file->path);
	return check_layers(source, file->path, err);
}

static int open_model(struct source *source, const struct folder *folder,
		      struct error *err)
{
	int r = open_config(source, folder, "config.json", "a model", err);

	return r < 0 ? r : open_weights(source, folder, err);
}

static int open_adapter(struct source *source, const struct folder *folder,
			struct error *err)
{
	static const char *const names[] = {"adapter_model.safetensors",
					    "adapter_model.bin"};

	int r = open_config(source, folder, "adapter_config.json", "an adapter",
			    err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO(file) file = NULL;
		if (folder_open(folder, names[i], &file, NULL) < 0)
			continue;
		r = add_shard(source, folder, names[i], err);
		return r < 0 ? r : sort_tensors(source, err);
	}
	return error_set(err, -ENOENT, "%s: no %s in it", folder->path,
			 names[0]);
}

typedef int open_fn(struct source *source, const struct folder *folder,
		    struct error *err);

static int open_as(open_fn *open, const char *directory, const char *label,
		   struct source **ret, struct error *err)
{
	AUTO(source) source = calloc(1, sizeof(*source));
	if (!source)
		return no_memory(err);
	source->label = strdup(label);
	source->directory = strdup(directory);
	if (!source->label || !source->directory)
		return no_memory(err);

	struct folder folder = {0};
	int r = folder_init(&folder, directory, err);
	if (r == 0)
		r = open(source, &folder, err);
	folder_done(&folder);
	if (r < 0)
		return r;
	*ret = TAKE(source);
	return 0;
}

int source_open(const char *directory, const char *label, struct source **ret,
		struct error *err)
{
	return open_as(open_model, directory, label, ret, err);
}

int source_open_adapter(const char *directory, const char *label,
			struct source **ret, struct error *err)
{
	return open_as(open_adapter, directory, label, ret, err);
}

int source_adapter_base(const char *directory, char **ret, struct error *err)
{
	struct folder folder = {0};
	AUTO(file) model = NULL;
	AUTO(file) file = NULL;
	AUTO_FREE char *text = NULL;
	AUTO(cJSON) config = NULL;

	*ret = NULL;
	int r = folder_init(&folder, directory, err);
	if (r == 0 && folder_open(&folder, "config.json", &model, NULL) < 0)
		r = folder_open(&folder, "adapter_config.json", &file, NULL);
	folder_done(&folder);
	if (r < 0 || !file)
		return r == -ENOMEM ? r : 0;

	r = file_load(file, 16 << 20, &text, err);
	if (r == 0)
		r = json_parse(text, file->size, file->path, &config, err);
	if (r < 0)
		return r;
	const cJSON *base = json_at(config, "base_model_name_or_path");
	*ret = strdup(cJSON_IsString(base) ? base->valuestring : "");
	return *ret ? 0 : no_memory(err);
}

int source_open_files(const char *directory, const char *label,
		      struct source **ret, struct error *err)
{
	AUTO(source) source = calloc(1, sizeof(*source));
	if (!source)
		return no_memory(err);
	source->label = strdup(label);
	source->directory = strdup(directory);
	if (!source->label || !source->directory)
		return no_memory(err);
	*ret = TAKE(source);
	return 0;
}

static int find_made(const struct source *source, const char *relative,
		     struct file **ret, struct error *err)
{
	for (size_t i = 0; i < source->n_made; i++) {
		if (strcmp(source->made[i].path, relative) == 0)
			return file_share(source->made[i].file, ret, err);
	}
	return -ENOENT;
}

int source_find_file(const struct source *source, const char *relative,
		     struct file **ret, struct error *err)
{
	struct folder folder = {0};
	AUTO(file) file = NULL;

	for (; source->donor; source = source->donor) {
		if (source->made)
			return find_made(source, relative, ret, err);
		if (!source->overlay)
			continue;
		enum overlay_place place =
			overlay_find(source->overlay, relative);
		if (place == OVERLAY_ADAPTER)
			return source_find_file(source->overlay, relative, ret,
						err);
		if (place == OVERLAY_NOWHERE)
			return -ENOENT;
	}
	int r = folder_init(&folder, source->directory, err);
	if (r == 0)
		r = folder_open(&folder, relative, &file, err);
	folder_done(&folder);
	if (r == 0)
		r = check_pointer(file, err);
	if (r < 0)
		return r;
	*ret = TAKE(file);
	return 0;
}

void source_close(struct source *source)
{
	if (!source)
		return;
	for (size_t i = 0; i < source->n_tensors; i++)
		free(source->tensors[i].name);
	free(source->tensors);
	for (size_t i = 0; i < source->n_files; i++)
		file_close(source->files[i]);
	free(source->files);
	cJSON_Delete(source->config);
	free(source->config_text);
	companions_free(source->made, source->n_made);
	free(source->directory);
	free(source->label);
	free(source);
}

const struct tensor *source_find(const struct source *source, const char *name)
{
	struct tensor key = {.name = (char *)name};

	return bsearch(&key, source->tensors, source->n_tensors, sizeof(key),
		       compare_tensors);
}
