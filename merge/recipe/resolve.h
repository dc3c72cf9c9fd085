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
 * source is the index of a source in the slice for a per-model parameter (every
 * source of the same model is asked, in order), or -1 for a shared parameter or
 * for a base that is not among the sources. t in [0, 1] is the place in
 * the stack of layers, for gradients: linear between values for numbers, the
 * value at trunc(t * (n - 1)) for booleans.
 *
 * Returns 0 with *ret set; -ENODATA without a sentence when no level gives a
 * value (the caller knows whether the parameter is required); -EINVAL with
 * one when a value does not fit (an interpolated integer, say).
 */
int resolve(const struct resolve_scope *scope, const struct method_param *param,
	    int source, const char *name, double t, double *ret,
	    struct error *err);

/*
 * One scalar as a parameter's value, by MergeKit's coercions: 1e-1, '0.5', true
 * are numbers; yes, off, 1 are booleans; 3.0 is an integer. YAML 1.1 surprises
 * (010, 1_0, 1:30, bare yes for a number) are refused with a sentence.
 */
int resolve_scalar(const struct scalar *scalar,
		   const struct method_param *param, const char *path,
		   double *ret, struct error *err);

#endif
