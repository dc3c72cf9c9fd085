#include "merge/source/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/json.h"
#include "util/range.h"

#define MAX_HEADER 100000000 /* as the format's reference reader */
#define MAX_NAME 4096

/* Reading one header. */
struct reading {
	const char *path;
	uint64_t data; /* where the data begin in the file */
	uint64_t data_size;
	struct error *err;
};

static int wrong(const struct reading *reading, const char *name,
		 const char *what)
{
	return error_set(reading->err, -EINVAL, "%s: tensor %.200s: %s",
			 reading->path, name, what);
}

static int read_shape(const struct reading *reading, const char *name,
		      const cJSON *list, struct shape *ret)
{
	struct shape shape = {0};
	if (!cJSON_IsArray(list))
		return wrong(reading, name, "shape must be a list of sizes");

	for (const cJSON *item = list->child; item; item = item->next) {
		if (shape.rank == SHAPE_MAX_RANK)
			return wrong(
				reading, name,
				"more than 8 dimensions are not supported");
		if (!json_u64(item, &shape.dims[shape.rank++]))
			return wrong(reading, name,
				     "a size in shape must be an integer, not "
				     "negative");
	}
	*ret = shape;
	return 0;
}

/* Bytes of a tensor by dtype and shape. */
static int read_size(const struct reading *reading, struct tensor *tensor)
{
	uint64_t bits;

	if (shape_count(&tensor->shape, &tensor->count) < 0 ||
	    range_mul(tensor->count, tensor->dtype->bits, &bits) < 0)
		return wrong(reading, tensor->name,
			     "the product of its shape is too large");
	if (bits % 8 != 0)
		return wrong(reading, tensor->name,
			     "its elements do not fill whole bytes");
	tensor->size = bits / 8;
	return 0;
}

static int read_offsets(const struct reading *reading, const cJSON *list,
			struct tensor *tensor)
{
	uint64_t begin, end;

	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) != 2 ||
	    !json_u64(list->child, &begin) ||
	    !json_u64(list->child->next, &end))
		return wrong(reading, tensor->name,
			     "data_offsets must be two integers, not negative");
	if (end < begin || end > reading->data_size)
		return wrong(reading, tensor->name,
			     end < begin
				     ? "data_offsets end before they begin"
				     : "data_offsets reach beyond the file");
	if (end - begin != tensor->size)
		return wrong(reading, tensor->name,
			     "data_offsets do not fit its dtype and shape");
	tensor->offset = reading->data + begin;
	return 0;
}

static int read_tensor(const struct reading *reading, const cJSON *item,
		       struct tensor *tensor)
{
	const char *name = item->string;
	if (strlen(name) > MAX_NAME)
		return wrong(reading, name, "its name is absurdly long");
	if (!cJSON_IsObject(item))
		return wrong(reading, name, "its entry must be an object");

	const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(item, "dtype");
	if (cJSON_IsString(dtype))
		tensor->dtype = dtype_find(dtype->valuestring);
	if (!tensor->dtype)
		return error_set(reading->err, -EINVAL,
				 "%s: tensor %.200s: unknown dtype '%.40s'",
				 reading->path, name,
				 cJSON_IsString(dtype) ? dtype->valuestring
						       : "");
	tensor->name = strdup(name);
	if (!tensor->name)
		return error_set(reading->err, -ENOMEM, "out of memory");
	int r = read_shape(reading, name,
			   cJSON_GetObjectItemCaseSensitive(item, "shape"),
			   &tensor->shape);
	if (r == 0)
		r = read_size(reading, tensor);
	if (r == 0)
		r = read_offsets(
			reading,
			cJSON_GetObjectItemCaseSensitive(item, "data_offsets"),
			tensor);
	return r;
}

static int check_metadata(const struct reading *reading, const cJSON *item)
{
	if (cJSON_IsNull(item))
		return 0;
	bool good = cJSON_IsObject(item);
	for (const cJSON *in = item->child; good && in; in = in->next)
		good = cJSON_IsString(in);
	if (good)
		return 0;
	return error_set(reading->err, -EINVAL,
			 "%s: __metadata__ must map strings to strings",
			 reading->path);
}

static int compare_offsets(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* The data must be covered, once, without holes. */
static int check_cover(const struct reading *reading,
		       struct safetensors *safetensors)
{
	uint64_t at = reading->data;

	qsort(safetensors->tensors, safetensors->n_tensors,
	      sizeof(*safetensors->tensors), compare_offsets);
	for (size_t i = 0; i < safetensors->n_tensors; i++) {
		const struct tensor *tensor = &safetensors->tensors[i];
		if (tensor->offset != at)
			return wrong(
				reading, tensor->name,
				tensor->offset < at
					? "its bytes overlap another tensor's"
					: "there are bytes before it that no "
					  "tensor has");
		at += tensor->size;
	}
	if (at != reading->data + reading->data_size)
		return error_set(
			reading->err, -EINVAL,
			"%s: %llu bytes after the last tensor belong to none",
			reading->path,
			(unsigned long long)(reading->data +
					     reading->data_size - at));
	qsort(safetensors->tensors, safetensors->n_tensors,
	      sizeof(*safetensors->tensors), compare_names);
	return 0;
}

static int read_all(const struct reading *reading, const cJSON *root,
		    struct safetensors *safetensors)
{
	size_t n = (size_t)cJSON_GetArraySize(root);

	safetensors->tensors = calloc(n + 1, sizeof(*safetensors->tensors));
	if (!safetensors->tensors)
		return error_set(reading->err, -ENOMEM, "out of memory");
	for (const cJSON *item = root->child; item; item = item->next) {
		int r = strcmp(item->string, "__metadata__") == 0
				? check_metadata(reading, item)
				: read_tensor(
					  reading, item,
					  &safetensors->tensors
						   [safetensors->n_tensors++]);
		if (r < 0)
			return r;
	}
	return check_cover(reading, safetensors);
}

/* Length of the JSON header, if it fits the file. */
static int header_length(const unsigned char *head, size_t head_size,
			 uint64_t file_size, const char *path, uint64_t *ret,
			 struct error *err)
{
	uint64_t length = 0;

	if (file_size < 8 || head_size < 8)
		return error_set(
			err, -EINVAL,
			"%s: too short (%llu bytes) for a safetensors file",
			path, (unsigned long long)file_size);
	for (unsigned i = 0; i < 8; i++)
		length |= (uint64_t)head[i] << (8 * i);
	if (length > MAX_HEADER)
		return error_set(err, -EINVAL,
				 "%s: claims a header of %llu bytes, at most "
				 "%d are allowed; is it a safetensors file?",
				 path, (unsigned long long)length, MAX_HEADER);
	if (length > file_size - 8 || length > head_size - 8)
		return error_set(
			err, -EINVAL,
			"%s: its header of %llu bytes reaches beyond the file",
			path, (unsigned long long)length);
	*ret = length;
	return 0;
}

int safetensors_parse(const unsigned char *head, size_t head_size,
		      uint64_t file_size, const char *path,
		      struct safetensors *ret, struct error *err)
{
	uint64_t length = 0;
	int r = header_length(head, head_size, file_size, path, &length, err);
	if (r < 0)
		return r;

	AUTO(cJSON) root = NULL;
	r = json_parse((const char *)head + 8, length, path, &root, err);
	if (r < 0)
		return r;
	if (!cJSON_IsObject(root))
		return error_set(err, -EINVAL,
				 "%s: the header is not a JSON object", path);

	struct reading reading = {
		.path = path,
		.data = 8 + length,
		.data_size = file_size - 8 - length,
		.err = err,
	};
	struct safetensors safetensors = {0};
	r = read_all(&reading, root, &safetensors);
	if (r < 0) {
		safetensors_done(&safetensors);
		return r;
	}
	*ret = safetensors;
	return 0;
}

void safetensors_done(struct safetensors *safetensors)
{
	for (size_t i = 0; i < safetensors->n_tensors; i++)
		free(safetensors->tensors[i].name);
	free(safetensors->tensors);
	*safetensors = (struct safetensors){0};
}
