#include "merge/source/pickle_private.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/tensor/dtype.h"
#include "util/macros.h"

enum name { ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER, STORAGE_TYPE };

static const struct {
	const char *text; /* module and name */
	enum name name;
	enum dtype_code code; /* of a storage */
} names[] = {
	{"collections\nOrderedDict\n", ORDERED_DICT, 0},
	{"torch._utils\n_rebuild_tensor_v2\n", REBUILD_TENSOR, 0},
	{"torch._utils\n_rebuild_parameter\n", REBUILD_PARAMETER, 0},
	{"torch\nDoubleStorage\n", STORAGE_TYPE, DTYPE_F64},
	{"torch\nFloatStorage\n", STORAGE_TYPE, DTYPE_F32},
	{"torch\nHalfStorage\n", STORAGE_TYPE, DTYPE_F16},
	{"torch\nBFloat16Storage\n", STORAGE_TYPE, DTYPE_BF16},
	{"torch\nLongStorage\n", STORAGE_TYPE, DTYPE_I64},
	{"torch\nIntStorage\n", STORAGE_TYPE, DTYPE_I32},
	{"torch\nShortStorage\n", STORAGE_TYPE, DTYPE_I16},
	{"torch\nCharStorage\n", STORAGE_TYPE, DTYPE_I8},
	{"torch\nByteStorage\n", STORAGE_TYPE, DTYPE_U8},
	{"torch\nBoolStorage\n", STORAGE_TYPE, DTYPE_BOOL},
};

int pickle_push_name(struct machine *machine)
{
	const char *text = (const char *)machine->data + machine->at;
	size_t left = machine->size - machine->at;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i].text);
		if (n > left || memcmp(text, names[i].text, n) != 0)
			continue;
		machine->at += n;
		return pickle_push(machine, NAME, i, 0);
	}
	size_t n = 0;
	while (n < left && n < 80 &&
	       (isalnum((unsigned char)text[n]) || text[n] == '.' ||
		text[n] == '_'))
		n++;
	return error_set(machine->err, -EINVAL,
			 "%s: its pickle wants Python's module '%.*s', and is "
			 "not one of tensors by name",
			 machine->path, (int)n, text);
}

/* A tuple whose first values are of these kinds, at least n of them. */
static const struct value *read_tuple(const struct machine *machine,
				      const struct value *tuple,
				      const enum kind *kinds, size_t n)
{
	if (tuple->kind != TUPLE || tuple->size < n)
		return NULL;
	const struct value *items = machine->tuples.items + tuple->at;
	for (size_t i = 0; i < n; i++) {
		if (items[i].kind != kinds[i])
			return NULL;
	}
	return items;
}

/* ('storage', its type, its key, where it was, how many elements). */
int pickle_push_storage(struct machine *machine)
{
	static const enum kind kinds[] = {TEXT, NAME, TEXT, TEXT, NUMBER};
	const struct value *id = NULL;

	int r = pickle_take(machine, 1, &id);
	if (r < 0)
		return r;
	const struct value *items =
		read_tuple(machine, id, kinds, ARRAY_SIZE(kinds));
	if (!items || names[items[1].at].name != STORAGE_TYPE)
		return pickle_wrong(machine,
				    "has a storage of an unknown kind");
	size_t at = machine->storages.n;
	struct value storage[] = {items[1], items[2], items[4]};
	r = pickle_append(machine, &machine->storages, storage, 3);
	return r < 0 ? r : pickle_push(machine, STORAGE, at, 0);
}

/* Steps of dimensions that have one element, or none, do not matter. */
static bool is_contiguous(const struct pickle_tensor *tensor,
			  const struct value *strides)
{
	uint64_t step = 1;

	for (unsigned i = tensor->shape.rank; i-- > 0;) {
		uint64_t size = tensor->shape.dims[i];
		if (size != 1 && strides[i].at != step && tensor->count > 0)
			return false;
		step *= size;
	}
	return true;
}

static int read_shape(const struct machine *machine, const struct value *sizes,
		      const struct value *steps, struct pickle_tensor *tensor)
{
	static const enum kind kinds[SHAPE_MAX_RANK] = {
		NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER};
	size_t n = sizes->size;
	if (n > SHAPE_MAX_RANK)
		return pickle_wrong(machine,
				    "has a tensor of more than 8 dimensions");

	const struct value *dims = read_tuple(machine, sizes, kinds, n);
	const struct value *strides = read_tuple(machine, steps, kinds, n);
	if (!dims || !strides || steps->size != n)
		return pickle_damaged(machine);
	tensor->shape.rank = (unsigned)n;
	for (size_t i = 0; i < n; i++)
		tensor->shape.dims[i] = dims[i].at;
	if (shape_count(&tensor->shape, &tensor->count) < 0)
		return pickle_wrong(machine, "has an absurdly large tensor");
	tensor->contiguous = is_contiguous(tensor, strides);
	return 0;
}

static int add_tensor(struct machine *machine,
		      const struct pickle_tensor *tensor)
{
	struct pickle *pickle = &machine->tensors;

	if (pickle->n_tensors == machine->room) {
		size_t room = 2 * machine->room + 16;
		struct pickle_tensor *grown =
			reallocarray(pickle->tensors, room, sizeof(*grown));
		if (!grown)
			return pickle_no_memory(machine);
		pickle->tensors = grown;
		machine->room = room;
	}
	pickle->tensors[pickle->n_tensors++] = *tensor;
	return 0;
}

/* (storage, its first element, sizes, steps, and what does not matter). */
static int rebuild_tensor(struct machine *machine, const struct value *args)
{
	static const enum kind kinds[] = {STORAGE, NUMBER, TUPLE, TUPLE};
	const struct value *items =
		read_tuple(machine, args, kinds, ARRAY_SIZE(kinds));
	if (!items)
		return pickle_damaged(machine);

	const struct value *storage = machine->storages.items + items[0].at;
	struct pickle_tensor tensor = {
		.storage = pickle_text_of(machine, &storage[1]),
		.dtype = dtype_of(names[storage[0].at].code),
		.storage_count = storage[2].at,
		.first = items[1].at,
	};
	int r = read_shape(machine, &items[2], &items[3], &tensor);
	if (r == 0)
		r = add_tensor(machine, &tensor);
	return r < 0 ? r
		     : pickle_push(machine, TENSOR,
				   machine->tensors.n_tensors - 1, 0);
}

static int rebuild_parameter(struct machine *machine, const struct value *args)
{
	static const enum kind kinds[] = {TENSOR};
	const struct value *items = read_tuple(machine, args, kinds, 1);

	return items ? pickle_push(machine, TENSOR, items->at, 0)
		     : pickle_damaged(machine);
}

/* Calls a name with a tuple. */
int pickle_reduce(struct machine *machine)
{
	const struct value *items = NULL;

	int r = pickle_take(machine, 2, &items);
	if (r < 0)
		return r;
	struct value args = items[1];
	if (items[0].kind != NAME)
		return pickle_damaged(machine);
	switch (names[items[0].at].name) {
	case ORDERED_DICT:
		return pickle_push(machine, DICT, machine->n_dicts++, 0);
	case REBUILD_TENSOR:
		return rebuild_tensor(machine, &args);
	case REBUILD_PARAMETER:
		return rebuild_parameter(machine, &args);
	default:
		return pickle_damaged(machine);
	}
}
