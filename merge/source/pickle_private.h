/* Between pickle.c, which has the words of pickles, and pickle_names.c, which
 * has the names of Python's in them. */
#ifndef MERGE_SOURCE_PICKLE_PRIVATE_H
#define MERGE_SOURCE_PICKLE_PRIVATE_H

#include "merge/source/pickle.h"

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
	struct values storages; /* three each: name, key, elements */
	struct pickle tensors;	/* without names */
	size_t room;		/* of those */
	uint64_t n_dicts;
};

int pickle_wrong(const struct machine *machine, const char *what);
int pickle_damaged(const struct machine *machine);
int pickle_no_memory(const struct machine *machine);
struct pickle_text pickle_text_of(const struct machine *machine,
				  const struct value *value);

/* Appends values, of another array. */
int pickle_append(const struct machine *machine, struct values *values,
		  const struct value *items, size_t n);
int pickle_push(struct machine *machine, enum kind kind, uint64_t at,
		uint32_t size);

/* Takes the n topmost values, of which none may be a mark; they stay readable
 * until the next push. */
int pickle_take(struct machine *machine, size_t n, const struct value **ret);

/* The words that are about names: of one, of a storage, of a call. */
int pickle_push_name(struct machine *machine);
int pickle_push_storage(struct machine *machine);
int pickle_reduce(struct machine *machine);

#endif
