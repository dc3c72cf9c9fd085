#include "merge/source/torch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/pickle.h"
#include "merge/source/safetensors.h"
#include "merge/source/zip.h"
#include "util/range.h"

#define MAX_PICKLE ((uint64_t)32 << 20)
#define MAX_NAME 4096

/* Reading one file. */
struct archive {
	const struct file *file;
	struct zip zip;
	const char *folder; /* that all entries are in, (length,) */
	size_t length;
	char *pickle; /* owned */
	uint64_t pickle_size;
	struct error *err;
};

static int wrong(const struct archive *archive,
		 const struct pickle_text *tensor, const char *what)
{
	return error_set(archive->err, -EINVAL, "%s: tensor %.*s: %s",
			 archive->file->path, (int)min_u64(tensor->size, 200),
			 tensor->data, what);
}

/* The folder is named as the file was when it was saved. */
static int find_folder(struct archive *archive)
{
	static const char name[] = "/data.pkl";
	size_t length = sizeof(name) - 1;

	for (size_t i = 0; i < archive->zip.n_entries; i++) {
		const struct zip_entry *entry = &archive->zip.entries[i];
		if (entry->length < length ||
		    memcmp(entry->name + entry->length - length, name,
			   length) != 0)
			continue;
		archive->folder = entry->name;
		archive->length = entry->length - length;
		return 0;
	}
	return error_set(archive->err, -EINVAL,
			 "%s: a zip archive without data.pkl, so it is not one "
			 "of PyTorch",
			 archive->file->path);
}

static const struct zip_entry *find(const struct archive *archive,
				    const char *name)
{
	return zip_find(&archive->zip, archive->folder, archive->length, name);
}

/* All bytes of a small entry; malloc'ed. */
static int load(const struct archive *archive, const struct zip_entry *entry,
		char **ret)
{
	uint64_t offset = 0;
	if (entry->size > MAX_PICKLE)
		return error_set(archive->err, -EINVAL,
				 "%s: its data.pkl is absurdly large",
				 archive->file->path);

	int r = zip_place(&archive->zip, entry, &offset, archive->err);
	if (r < 0)
		return r;
	AUTO_FREE char *data = malloc(entry->size + 1);
	if (!data)
		return error_set(archive->err, -ENOMEM, "out of memory");
	r = file_read(archive->file, offset, entry->size, data);
	if (r < 0)
		return error_set(archive->err, r, "%s: %s", archive->file->path,
				 strerror(-r));
	*ret = TAKE(data);
	return 0;
}

static int check_order(const struct archive *archive)
{
	const struct zip_entry *entry = find(archive, "/byteorder");
	AUTO_FREE char *order = NULL;
	if (!entry)
		return 0;

	int r = load(archive, entry, &order);
	if (r < 0)
		return r;
	if (entry->size == 6 && memcmp(order, "little", 6) == 0)
		return 0;
	return error_set(archive->err, -EINVAL,
			 "%s: saved on a machine of another byte order, which "
			 "is not supported",
			 archive->file->path);
}

static int open_archive(struct archive *archive)
{
	if (!zip_looks_like(archive->file))
		return error_set(archive->err, -EINVAL,
				 "%s: not an archive of PyTorch 1.6 or later; "
				 "convert it to safetensors",
				 archive->file->path);

	int r = zip_open(archive->file, &archive->zip, archive->err);
	if (r == 0)
		r = find_folder(archive);
	if (r == 0)
		r = check_order(archive);
	if (r < 0)
		return r;
	const struct zip_entry *entry = find(archive, "/data.pkl");
	archive->pickle_size = entry->size;
	return load(archive, entry, &archive->pickle);
}

/* Where a tensor's bytes are. */
static int place(const struct archive *archive,
		 const struct pickle_tensor *from, struct tensor *tensor)
{
	char name[64];
	uint64_t width = from->dtype->bits / 8, begin, whole, offset = 0;

	snprintf(name, sizeof(name), "/data/%.*s",
		 (int)min_u64(from->storage.size, 40), from->storage.data);
	const struct zip_entry *entry = find(archive, name);
	if (!entry)
		return wrong(archive, &from->name,
			     "the archive does not have its bytes");
	if (range_mul(from->storage_count, width, &whole) < 0 ||
	    whole != entry->size)
		return wrong(archive, &from->name,
			     "its bytes in the archive are not as many as its "
			     "pickle says");
	if (range_mul(from->count, width, &tensor->size) < 0 ||
	    range_mul(from->first, width, &begin) < 0 ||
	    !range_within(begin, tensor->size, entry->size))
		return wrong(archive, &from->name,
			     "it reaches beyond its bytes in the archive");
	int r = zip_place(&archive->zip, entry, &offset, archive->err);
	tensor->offset = offset + begin;
	return r;
}

static int make(const struct archive *archive, const struct pickle_tensor *from,
		struct tensor *tensor)
{
	if (from->name.size > MAX_NAME ||
	    memchr(from->name.data, '\0', from->name.size))
		return wrong(archive, &from->name, "its name is absurd");
	if (!from->contiguous)
		return wrong(archive, &from->name,
			     "its elements do not lie in their order, which "
			     "is not supported; convert it to safetensors");

	tensor->name = strndup(from->name.data, from->name.size);
	if (!tensor->name)
		return error_set(archive->err, -ENOMEM, "out of memory");
	tensor->dtype = from->dtype;
	tensor->shape = from->shape;
	tensor->count = from->count;
	return place(archive, from, tensor);
}

static int make_all(const struct archive *archive, const struct pickle *pickle,
		    struct safetensors *ret)
{
	ret->tensors = calloc(pickle->n_tensors + 1, sizeof(*ret->tensors));
	if (!ret->tensors)
		return error_set(archive->err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < pickle->n_tensors; i++) {
		int r = make(archive, &pickle->tensors[i],
			     &ret->tensors[ret->n_tensors++]);
		if (r < 0)
			return r;
	}
	return 0;
}

int torch_read(const struct file *file, struct safetensors *ret,
	       struct error *err)
{
	struct archive archive = {.file = file, .err = err};
	struct pickle pickle = {0};
	struct safetensors tensors = {0};

	int r = open_archive(&archive);
	if (r == 0)
		r = pickle_parse((const unsigned char *)archive.pickle,
				 archive.pickle_size, file->path, &pickle, err);
	if (r == 0)
		r = make_all(&archive, &pickle, &tensors);
	pickle_done(&pickle);
	free(archive.pickle);
	zip_done(&archive.zip);
	if (r < 0) {
		safetensors_done(&tensors);
		return r;
	}
	*ret = tensors;
	return 0;
}
