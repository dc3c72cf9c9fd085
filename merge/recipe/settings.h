/*
 * `parameters:` of one level: settings, and the cases that they are made of.
 */
#ifndef MERGE_RECIPE_SETTINGS_H
#define MERGE_RECIPE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

struct form;
struct yaml;

struct scalar {	    /* one value */
	char *text; /* as it was written */
	bool quoted;
	unsigned line;
	double value; /* as the parameter it is given to */
};

/* One alternative of a setting: its values hold for names it lets through. */
struct setting_case {
	char *filter; /* a substring of the name; NULL or "*": every name */
	struct scalar *values; /* (n_values,) one number, or a gradient */
	size_t n_values;       /* 0: an empty list, which gives no value */
	bool gradient;	       /* written as a list */
	unsigned line;
};

struct setting { /* one parameter at one level */
	char *name;
	unsigned line;
	struct setting_case *cases; /* (n_cases,) the first that fits counts */
	size_t n_cases;
};

struct settings { /* only parameters that the recipe's method has */
	struct setting *items; /* (n,) in document order */
	size_t n;
};

/*
 * Reads the map under `parameters:` into *ret, which is zeroed, and judges
 * every value. of_model: the level of one model, where only per-model
 * parameters have an effect. On failure, too, the caller releases *ret.
 */
int settings_read(const struct form *form, const struct yaml *node,
		  bool of_model, struct settings *ret);
void settings_done(struct settings *settings);

/* By name, or NULL. */
const struct setting *settings_find(const struct settings *settings,
				    const char *name);

/* Can it give a value for any name at all? */
bool setting_has_value(const struct setting *setting);

#endif
