#include "merge/source/pickle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/pickle_private.h"
#include "util/range.h"

/* Tensors are pickled a thousand at a time, two values for each. */
#define MAX_STACK 16384

int pickle_wrong(const struct machine *machine, const char *what)
{
	return error_set(machine->err, -EINVAL, "%s: its pickle %s",
			 machine->path, what);
}

int pickle_damaged(const struct machine *machine)
{
	return pickle_wrong(machine, "is damaged");
}

int pickle_no_memory(const struct machine *machine)
{
	return error_set(machine->err, -ENOMEM, "out of memory");
}

/* Arrays grow with what has been read of the pickle, never ahead of it. */
int pickle_append(const struct machine *machine, struct values *values,
		  const struct value *items, size_t n)
{
	if (values->room - values->n < n) {
		size_t room = 2 * (values->n + n) + 32;
		struct value *grown =
			reallocarray(values->items, room, sizeof(*grown));
		if (!grown)
			return pickle_no_memory(machine);
		values->items = grown;
		values->room = room;
	}
	if (n > 0)
		memcpy(values->items + values->n, items, n * sizeof(*items));
	values->n += n;
	return 0;
}

struct pickle_text pickle_text_of(const struct machine *machine,
				  const struct value *value)
{
	return (struct pickle_text){
		.data = (const char *)machine->data + value->at,
		.size = value->size,
	};
}

int pickle_push(struct machine *machine, enum kind kind, uint64_t at,
		uint32_t size)
{
	struct value value = {.kind = kind, .size = size, .at = at};

	if (machine->stack.n == MAX_STACK)
		return pickle_wrong(machine,
				    "has more than tensors by name in it");
	return pickle_append(machine, &machine->stack, &value, 1);
}

/* The next n bytes as a number, the least first. */
static int read_number(struct machine *machine, unsigned n, uint64_t *ret)
{
	uint64_t value = 0;
	if (!range_within(machine->at, n, machine->size))
		return pickle_damaged(machine);

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

	return r < 0 ? r : pickle_push(machine, NUMBER, value, 0);
}

static int push_long(struct machine *machine)
{
	uint64_t n = 0, value = 0;

	int r = read_number(machine, 1, &n);
	if (r < 0)
		return r;
	if (n > 9)
		return pickle_wrong(machine, "has an absurdly large number");
	r = read_number(machine, n < 8 ? (unsigned)n : 8, &value);
	machine->at += n == 9;
	return r < 0 ? r : pickle_push(machine, NUMBER, value, 0);
}

static int push_text(struct machine *machine)
{
	uint64_t size = 0;

	int r = read_number(machine, 4, &size);
	if (r < 0)
		return r;
	if (!range_within(machine->at, size, machine->size))
		return pickle_damaged(machine);
	machine->at += size;
	return pickle_push(machine, TEXT, machine->at - size, (uint32_t)size);
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
		return pickle_damaged(machine);
	return pickle_append(machine, &machine->memo,
			     &stack->items[stack->n - 1], 1);
}

static int get(struct machine *machine, unsigned n)
{
	uint64_t place = 0;

	int r = read_number(machine, n, &place);
	if (r < 0)
		return r;
	if (place >= machine->memo.n)
		return pickle_damaged(machine);
	const struct value *value = &machine->memo.items[place];
	return pickle_push(machine, value->kind, value->at, value->size);
}

int pickle_take(struct machine *machine, size_t n, const struct value **ret)
{
	struct values *stack = &machine->stack;
	if (n > stack->n)
		return pickle_damaged(machine);

	stack->n -= n;
	*ret = n > 0 ? stack->items + stack->n : NULL;
	for (size_t i = 0; i < n; i++) {
		if ((*ret)[i].kind == MARK)
			return pickle_damaged(machine);
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
		return pickle_damaged(machine);
	stack->n -= n + 1;
	*ret = stack->items + stack->n + 1;
	*ret_n = n;
	return 0;
}

static int make_tuple(struct machine *machine, const struct value *items,
		      size_t n)
{
	size_t at = machine->tuples.n;
	int r = pickle_append(machine, &machine->tuples, items, n);

	return r < 0 ? r : pickle_push(machine, TUPLE, at, (uint32_t)n);
}

static int push_tuple(struct machine *machine, size_t n)
{
	const struct value *items = NULL;
	int r = pickle_take(machine, n, &items);

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
		return pickle_damaged(machine);

	for (size_t i = 0; i < n; i += 2) {
		struct value entry[] = {stack->items[stack->n - 1], items[i],
					items[i + 1]};
		int r = pickle_append(machine, &machine->entries, entry, 3);
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
	int r = pickle_take(machine, 2, &items);

	return r < 0 ? r : set_items(machine, items, 2);
}

/* The attributes of a dict, which has metadata of modules there. */
static int build(struct machine *machine)
{
	const struct value *items = NULL;

	int r = pickle_take(machine, 1, &items);
	if (r < 0)
		return r;
	const struct values *stack = &machine->stack;
	if (stack->n == 0 || stack->items[stack->n - 1].kind != DICT)
		return pickle_damaged(machine);
	return 0;
}

static int step(struct machine *machine, unsigned char word)
{
	uint64_t version = 0;

	switch (word) {
	case 0x80: /* the pickle's version */
		return read_number(machine, 1, &version);
	case '(':
		return pickle_push(machine, MARK, 0, 0);
	case 'N':
	case 0x88:
	case 0x89:
		return pickle_push(machine, OTHER, 0, 0);
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
		return pickle_push_name(machine);
	case 'q':
		return put(machine, 1);
	case 'r':
		return put(machine, 4);
	case 'h':
		return get(machine, 1);
	case 'j':
		return get(machine, 4);
	case '}':
		return pickle_push(machine, DICT, machine->n_dicts++, 0);
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
		return pickle_push_storage(machine);
	case 'R':
		return pickle_reduce(machine);
	default:
		return pickle_wrong(machine,
				    "has more than tensors by name in it");
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
	return pickle_damaged(machine);
}

static bool is_text(const struct machine *machine, const struct value *value,
		    const char *text)
{
	return value->kind == TEXT && value->size == strlen(text) &&
	       memcmp(machine->data + value->at, text, value->size) == 0;
}

/* The dict that is left, or the one that it has under this name, next to what
 * training leaves there. */
static const struct value *find_top(const struct machine *machine)
{
	const struct value *top = machine->stack.items;
	if (machine->stack.n != 1 || top->kind != DICT)
		return NULL;

	for (size_t i = 0; i < machine->entries.n; i += 3) {
		const struct value *entry = machine->entries.items + i;
		if (entry[0].at == top->at && entry[2].kind == DICT &&
		    is_text(machine, &entry[1], "state_dict"))
			return &entry[2];
	}
	return top;
}

static int collect(const struct machine *machine, struct pickle *ret)
{
	const struct value *top = find_top(machine);
	if (!top)
		return pickle_wrong(machine, "is not one of tensors by name");

	size_t n = machine->entries.n / 3;
	ret->tensors = calloc(n + 1, sizeof(*ret->tensors));
	if (!ret->tensors)
		return pickle_no_memory(machine);
	for (size_t i = 0; i < n; i++) {
		const struct value *entry = machine->entries.items + 3 * i;
		if (entry[0].at != top->at)
			continue;
		if (entry[1].kind != TEXT || entry[2].kind != TENSOR)
			return pickle_wrong(
				machine, "has more than tensors by name in it");
		struct pickle_tensor *tensor = &ret->tensors[ret->n_tensors++];
		*tensor = machine->tensors.tensors[entry[2].at];
		tensor->name = pickle_text_of(machine, &entry[1]);
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
