/*
 * YAML (libyaml) as a tree of plain nodes that know their lines.
 *
 * Aliases are shared nodes, so an alias bomb costs nothing to build; whoever
 * walks the tree is bounded by the number of visits that was checked: file size
 * 1 MiB, depth 64, 100,000 nodes counted through aliases. Refused: duplicate
 * keys, keys that are not scalars, tags other than the core ones, aliases that
 * contain themselves. Merge keys (<<) are resolved.
 */
#ifndef MERGE_RECIPE_YAML_H
#define MERGE_RECIPE_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"
#include "util/macros.h"

enum yaml_kind {
	YAML_NULL, /* ~, null, or nothing written */
	YAML_SCALAR,
	YAML_LIST,
	YAML_MAP,
};

struct yaml_pair;

struct yaml { /* one node */
	enum yaml_kind kind;
	unsigned line; /* from 1 */
	char *text;    /* of a scalar or null; owned */
	bool quoted;   /* in quotes or block style: never a number, bool or null
			*/
	bool aliased;  /* has an anchor, and an alias stands for it elsewhere */
	unsigned visits;     /* nodes from here down, counted through aliases */
	size_t n;	     /* items or pairs */
	struct yaml **items; /* (n,) of a list; the array is owned */
	struct yaml_pair *pairs; /* (n,) of a map, in document order; owned */
	struct yaml *next;	 /* the file's */
};

struct yaml_pair {
	const char *key;
	unsigned line;
	struct yaml *value;
};

struct yaml_file {
	char *path; /* owned, as given */
	char *text; /* the file's bytes, NUL-ended; owned */
	size_t size;
	/* (n_documents,) owned; a document without content is left out. */
	struct yaml **documents;
	size_t n_documents;
	struct yaml *nodes; /* all of them, chained; owned */
};

int yaml_load(const char *path, struct yaml_file **ret, struct error *err);

/* The same from memory; path is for sentences only. */
int yaml_parse(const char *text, size_t size, const char *path,
	       struct yaml_file **ret, struct error *err);

/* Not yaml_free(): libyaml exports, and calls, a function of that name. */
void yaml_file_free(struct yaml_file *file);
DEFINE_AUTO(yaml_file, yaml_file_free);

/* Value of a map's key, or NULL. */
const struct yaml *yaml_get(const struct yaml *map, const char *key);

/* Is this node, or any below it, used by an alias? */
bool yaml_is_shared(const struct yaml *node);

#endif
