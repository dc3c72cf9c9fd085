/*
 * Judging the form of a document while it is read: what the readers of its
 * parts share. Every complaint names the file and the line.
 */
#ifndef MERGE_RECIPE_FORM_H
#define MERGE_RECIPE_FORM_H

#include <stdbool.h>

#include "merge/recipe/yaml.h"
#include "util/error.h"
#include "util/macros.h"

struct method;

struct form {
	const char *path;
	bool lax;
	const struct method *method; /* of the document, once it is known */
	struct notes *notes;	     /* or NULL */
	struct error *err;
};

/* Sets "PATH:LINE: ..." and returns -EINVAL. */
int form_error(const struct form *form, unsigned line, const char *format, ...)
	PRINTF(3, 4);
int form_out_of_memory(const struct form *form); /* -ENOMEM */

/* Adds "PATH:LINE: ..."; beyond what a person would read it is dropped. */
int form_note(const struct form *form, unsigned line, const char *format, ...)
	PRINTF(3, 4);

/* The pair of a map's key, or NULL if it is absent or null. */
const struct yaml_pair *form_find(const struct yaml *map, const char *key);

/* Errors unless node is of the kind; what: "models", "a slice". */
int form_is(const struct form *form, const struct yaml *node,
	    enum yaml_kind kind, const char *what);

/*
 * Errors, or notes when lax, for a key of the map that is not in `known`
 * (NULL-ended).
 */
int form_keys(const struct form *form, const struct yaml *map, const char *what,
	      const char *const *known);

/* The same for one key. */
int form_unknown_key(const struct form *form, const struct yaml_pair *pair,
		     const char *what, const char *const *known);

/*
 * A copy of a text: a scalar that is no number or truth value, unless quoted.
 */
int form_text(const struct form *form, const struct yaml *node,
	      const char *what, char **ret);

#endif
