#include "merge/source/pickle.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/tensor/dtype.h"
#include "util/macros.h"
#include "util/range.h"

/* Tensors are pickled a thousand at a time, two values for each. */
#define MAX_STACK 16384

enum kind {
	OTHER, /* none, true, false; what metadata has */
	NUMBER,
	TEXT,
	NAME, /* of Python's */
	TUPLE,
	DICT,
	STORAGE,
	TENSOR,
	MARK,
};

struct value {
	enum kind kind;
	uint32_t size; /* of a text or a tuple */
	uint64_t at;   /* a number; a place in the pickle, or in an array */
};

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

struct values {
	struct value *items; /* (room,) owned */
	size_t n, room;
};

/* The machine that pickles are written for. */
struct machine {
	const unsigned char *data;
	size_t size, at;
	const char *path;
	struct error *err;
	struct values stack, memo;
	struct values tuples;	/* what is in them, one behind the other */
	struct values entries;	/* of dicts, three each: dict, key, value */
	struct values storages; /* two each: name, key */
	struct pickle tensors;	/* without names */
	size_t room;		/* of those */
	uint64_t n_dicts;
};

static int wrong(const struct machine *machine, const char *what)
{
	return error_set(machine->err, -EINVAL, "%s: its pickle %s",
			 machine->path, what);
}

static int damaged(const struct machine *machine)
{
	return wrong(machine, "is damaged");
}

static int no_memory(const struct machine *machine)
{
	return error_set(machine->err, -ENOMEM, "out of memory");
}

/* Arrays grow with what has been read of the pickle, never ahead of it. */
static int append(const struct machine *machine, struct values *values,
		  const struct value *items, size_t n)
{
	if (values->room - values->n < n) {
		size_t room = 2 * (values->n + n) + 32;
		struct value *grown =
			reallocarray(values->items, room, sizeof(*grown));
		if (!grown)
			return no_memory(machine);
		values->items = grown;
		values->room = room;
	}
	if (n > 0)
		memcpy(values->items + values->n, items, n * sizeof(*items));
	values->n += n;
	return 0;
}

static int push(struct machine *machine, enum kind kind, uint64_t at,
		uint32_t size)
{
	struct value value = {.kind = kind, .size = size, .at = at};

	if (machine->stack.n == MAX_STACK)
		return wrong(machine, "has more than tensors by name in it");
	return append(machine, &machine->stack, &value, 1);
}

/* The next n bytes as a number, the least first. */
static int read_number(struct machine *machine, unsigned n, uint64_t *ret)
{
	uint64_t value = 0;
	if (!range_within(machine->at, n, machine->size))
		return damaged(machine);

	for (unsigned i = 0; i < n; i++)
		value |= (uint64_t)machine->data[machine->at++] << (8 * i);
	*ret = value;
	return 0;
}

/* Sizes and places have no sign. */
static int push_number(struct machine *machine, unsigned n)
{
	uint64_t value = 0;
	int r = read_number(machine, n, &value);

	return r < 0 ? r : push(machine, NUMBER, value, 0);
}

static int push_long(struct machine *machine)
{
	uint64_t n = 0, value = 0;

	int r = read_number(machine, 1, &n);
	if (r < 0)
		return r;
	if (n > 9)
		return wrong(machine, "has an absurdly large number");
	r = read_number(machine, n < 8 ? (unsigned)n : 8, &value);
	machine->at += n == 9;
	return r < 0 ? r : push(machine, NUMBER, value, 0);
}

static int push_text(struct machine *machine)
{
	uint64_t size = 0;

	int r = read_number(machine, 4, &size);
	if (r < 0)
		return r;
	if (!range_within(machine->at, size, machine->size))
		return damaged(machine);
	machine->at += size;
	return push(machine, TEXT, machine->at - size, (uint32_t)size);
}

static int push_name(struct machine *machine)
{
	const char *text = (const char *)machine->data + machine->at;
	size_t left = machine->size - machine->at;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t n = strlen(names[i].text);
		if (n > left || memcmp(text, names[i].text, n) != 0)
			continue;
		machine->at += n;
		return push(machine, NAME, i, 0);
	}
	size_t n = 0;
	while (n < left && n < 80 &&
	       (isalnum(text[n]) || strchr("._", text[n])))
		n++;
	return error_set(machine->err, -EINVAL,
			 "%s: its pickle wants Python's module '%.*s', and is "
			 "not one of tensors by name",
			 machine->path, (int)n, text);
}

/* Memory is numbered in the order in which it is used. */
static int put(struct machine *machine, unsigned n)
{
	uint64_t place = 0;
	struct values *stack = &machine->stack;

	int r = read_number(machine, n, &place);
	if (r < 0)
		return r;
	if (stack->n == 0 || place != machine->memo.n)
		return damaged(machine);
	return append(machine, &machine->memo, &stack->items[stack->n - 1], 1);
}

static int get(struct machine *machine, unsigned n)
{
	uint64_t place = 0;

	int r = read_number(machine, n, &place);
	if (r < 0)
		return r;
	if (place >= machine->memo.n)
		return damaged(machine);
	const struct value *value = &machine->memo.items[place];
	return push(machine, value->kind, value->at, value->size);
}

/* Takes the n topmost values, of which none may be a mark; they stay readable
 * until the next push. */
static int take(struct machine *machine, size_t n, const struct value **ret)
{
	struct values *stack = &machine->stack;
	if (n > stack->n)
		return damaged(machine);

	stack->n -= n;
	*ret = n > 0 ? stack->items + stack->n : NULL;
	for (size_t i = 0; i < n; i++) {
		if ((*ret)[i].kind == MARK)
			return damaged(machine);
	}
	return 0;
}

/* Takes what is above the last mark, and the mark. */
static int take_marked(struct machine *machine, const struct value **ret,
		       size_t *ret_n)
{
	struct values *stack = &machine->stack;
	size_t n = 0;

	while (n < stack->n && stack->items[stack->n - 1 - n].kind != MARK)
		n++;
	if (n == stack->n)
		return damaged(machine);
	stack->n -= n + 1;
	*ret = stack->items + stack->n + 1;
	*ret_n = n;
	return 0;
}

static int make_tuple(struct machine *machine, const struct value *items,
		      size_t n)
{
	size_t at = machine->tuples.n;
	int r = append(machine, &machine->tuples, items, n);

	return r < 0 ? r : push(machine, TUPLE, at, (uint32_t)n);
}

static int push_tuple(struct machine *machine, size_t n)
{
	const struct value *items = NULL;
	int r = take(machine, n, &items);

	return r < 0 ? r : make_tuple(machine, items, n);
}

static int push_marked(struct machine *machine)
{
	const struct value *items = NULL;
	size_t n = 0;
	int r = take_marked(machine, &items, &n);

	return r < 0 ? r : make_tuple(machine, items, n);
}

/* Keys and values in turns, into the dict that is on top then. */
static int set_items(struct machine *machine, const struct value *items,
		     size_t n)
{
	const struct values *stack = &machine->stack;
	if (n % 2 != 0 || stack->n == 0 ||
	    stack->items[stack->n - 1].kind != DICT)
		return damaged(machine);

	for (size_t i = 0; i < n; i += 2) {
		struct value entry[] = {stack->items[stack->n - 1], items[i],
					items[i + 1]};
		int r = append(machine, &machine->entries, entry, 3);
		if (r < 0)
			return r;
	}
	return 0;
}

static int set_marked(struct machine *machine)
{
	const struct value *items = NULL;
	size_t n = 0;
	int r = take_marked(machine, &items, &n);

	return r < 0 ? r : set_items(machine, items, n);
}

static int set_one(struct machine *machine)
{
	const struct value *items = NULL;
	int r = take(machine, 2, &items);

	return r < 0 ? r : set_items(machine, items, 2);
}

/* The attributes of a dict, which has metadata of modules there. */
static int build(struct machine *machine)
{
	const struct value *items = NULL;

	int r = take(machine, 1, &items);
	if (r < 0)
		return r;
	const struct values *stack = &machine->stack;
	if (stack->n == 0 || stack->items[stack->n - 1].kind != DICT)
		return damaged(machine);
	return 0;
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
static int push_storage(struct machine *machine)
{
	static const enum kind kinds[] = {TEXT, NAME, TEXT, TEXT, NUMBER};
	const struct value *id = NULL;

	int r = take(machine, 1, &id);
	if (r < 0)
		return r;
	const struct value *items =
		read_tuple(machine, id, kinds, ARRAY_SIZE(kinds));
	if (!items || names[items[1].at].name != STORAGE_TYPE)
		return wrong(machine, "has a storage of an unknown kind");
	size_t at = machine->storages.n;
	struct value storage[] = {items[1], items[2]};
	r = append(machine, &machine->storages, storage, 2);
	return r < 0 ? r : push(machine, STORAGE, at, 0);
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
		return wrong(machine, "has a tensor of more than 8 dimensions");

	const struct value *dims = read_tuple(machine, sizes, kinds, n);
	const struct value *strides = read_tuple(machine, steps, kinds, n);
	if (!dims || !strides || steps->size != n)
		return damaged(machine);
	tensor->shape.rank = (unsigned)n;
	for (size_t i = 0; i < n; i++)
		tensor->shape.dims[i] = dims[i].at;
	if (shape_count(&tensor->shape, &tensor->count) < 0)
		return wrong(machine, "has an absurdly large tensor");
	tensor->contiguous = is_contiguous(tensor, strides);
	return 0;
}

static struct pickle_text text_of(const struct machine *machine,
				  const struct value *value)
{
	return (struct pickle_text){
		.data = (const char *)machine->data + value->at,
		.size = value->size,
	};
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
			return no_memory(machine);
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
		return damaged(machine);

	const struct value *storage = machine->storages.items + items[0].at;
	struct pickle_tensor tensor = {
		.storage = text_of(machine, &storage[1]),
		.dtype = dtype_of(names[storage[0].at].code),
		.first = items[1].at,
	};
	int r = read_shape(machine, &items[2], &items[3], &tensor);
	if (r == 0)
		r = add_tensor(machine, &tensor);
	return r < 0 ? r
		     : push(machine, TENSOR, machine->tensors.n_tensors - 1, 0);
}

static int rebuild_parameter(struct machine *machine, const struct value *args)
{
	static const enum kind kinds[] = {TENSOR};
	const struct value *items = read_tuple(machine, args, kinds, 1);

	return items ? push(machine, TENSOR, items->at, 0) : damaged(machine);
}

/* Calls a name with a tuple. */
static int reduce(struct machine *machine)
{
	const struct value *items = NULL;

	int r = take(machine, 2, &items);
	if (r < 0)
		return r;
	struct value args = items[1];
	if (items[0].kind != NAME)
		return damaged(machine);
	switch (names[items[0].at].name) {
	case ORDERED_DICT:
		return push(machine, DICT, machine->n_dicts++, 0);
	case REBUILD_TENSOR:
		return rebuild_tensor(machine, &args);
	case REBUILD_PARAMETER:
		return rebuild_parameter(machine, &args);
	default:
		return damaged(machine);
	}
}

static int step(struct machine *machine, unsigned char word)
{
	uint64_t version = 0;

	switch (word) {
	case 0x80: /* the pickle's version */
		return read_number(machine, 1, &version);
	case '(':
		return push(machine, MARK, 0, 0);
	case 'N':
	case 0x88:
	case 0x89:
		return push(machine, OTHER, 0, 0);
	case 'K':
		return push_number(machine, 1);
	case 'M':
		return push_number(machine, 2);
	case 'J':
		return push_number(machine, 4);
	case 0x8a:
		return push_long(machine);
	case 'X':
		return push_text(machine);
	case 'c':
		return push_name(machine);
	case 'q':
		return put(machine, 1);
	case 'r':
		return put(machine, 4);
	case 'h':
		return get(machine, 1);
	case 'j':
		return get(machine, 4);
	case '}':
		return push(machine, DICT, machine->n_dicts++, 0);
	case ')':
		return push_tuple(machine, 0);
	case 0x85:
		return push_tuple(machine, 1);
	case 0x86:
		return push_tuple(machine, 2);
	case 0x87:
		return push_tuple(machine, 3);
	case 't':
		return push_marked(machine);
	case 's':
		return set_one(machine);
	case 'u':
		return set_marked(machine);
	case 'b':
		return build(machine);
	case 'Q':
		return push_storage(machine);
	case 'R':
		return reduce(machine);
	default:
		return wrong(machine, "has more than tensors by name in it");
	}
}

static int run(struct machine *machine)
{
	while (machine->at < machine->size) {
		unsigned char word = machine->data[machine->at++];
		if (word == '.')
			return 0;
		int r = step(machine, word);
		if (r < 0)
			return r;
	}
	return damaged(machine);
}

/* The tensors of the dict that is left. */
static int collect(const struct machine *machine, struct pickle *ret)
{
	const struct value *top = machine->stack.items;
	if (machine->stack.n != 1 || top->kind != DICT)
		return wrong(machine, "is not one of tensors by name");

	size_t n = machine->entries.n / 3;
	ret->tensors = calloc(n + 1, sizeof(*ret->tensors));
	if (!ret->tensors)
		return no_memory(machine);
	for (size_t i = 0; i < n; i++) {
		const struct value *entry = machine->entries.items + 3 * i;
		if (entry[0].at != top->at)
			continue;
		if (entry[1].kind != TEXT || entry[2].kind != TENSOR)
			return wrong(machine,
				     "has more than tensors by name in it");
		struct pickle_tensor *tensor = &ret->tensors[ret->n_tensors++];
		*tensor = machine->tensors.tensors[entry[2].at];
		tensor->name = text_of(machine, &entry[1]);
	}
	return 0;
}

int pickle_parse(const unsigned char *data, size_t size, const char *path,
		 struct pickle *ret, struct error *err)
{
	struct machine machine = {
		.data = data, .size = size, .path = path, .err = err};
	struct pickle pickle = {0};

	int r = run(&machine);
	if (r == 0)
		r = collect(&machine, &pickle);
	free(machine.stack.items);
	free(machine.memo.items);
	free(machine.tuples.items);
	free(machine.entries.items);
	free(machine.storages.items);
	pickle_done(&machine.tensors);
	if (r < 0) {
		pickle_done(&pickle);
		return r;
	}
	*ret = pickle;
	return 0;
}

void pickle_done(struct pickle *pickle)
{
	free(pickle->tensors);
	*pickle = (struct pickle){0};
}
