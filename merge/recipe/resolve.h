/*
 * The value of a parameter for one tensor: the first level that gives one of
 * source, slice, module, recipe; else the method's default.
 *
 * Shared parameters skip the source level and are matched against the output
 * name; per-model parameters are matched against the input name at every level.
 */
#ifndef MERGE_RECIPE_RESOLVE_H
#define MERGE_RECIPE_RESOLVE_H

#include "merge/recipe/recipe.h"

struct method_param;

struct resolve_scope {
	const struct recipe *recipe;
	const struct recipe_module *module;
	const struct recipe_slice *slice;
};

/*
 * param is one of the recipe's method. source is the index of a source in the
 * slice for a per-model parameter (its own settings are asked, not those of
 * another source of the same model), or -1 for a shared parameter or for a base
 * that is not among the sources. t in [0, 1] is the place in the stack of
 * layers, for gradients: linear between values for numbers, the value at
 * trunc(t * (n - 1)) for truth values.
 *
 * Returns 0 with *ret set; -ENODATA without a sentence when no level gives a
 * value (the caller knows whether the parameter is required); -EINVAL with one
 * when a gradient of whole numbers gives another number here.
 */
int resolve(const struct resolve_scope *scope, const struct method_param *param,
	    int source, const char *name, double t, double *ret,
	    struct error *err);

#endif
