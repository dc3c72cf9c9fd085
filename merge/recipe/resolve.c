#include "merge/recipe/resolve.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/methods/method.h"

/* Filters are written for names in MergeKit's spelling, "transformer.h.0.",
 * while a checkpoint may have them without what wraps them, "h.0.". */
static bool begins_unwrapped(const char *name, const char *filter)
{
	const char *rest = arch_unwrapped(filter);

	return rest != filter && *rest && arch_unwrapped(name) == name &&
	       strncmp(name, rest, strlen(rest)) == 0;
}

static bool lets_through(const struct setting_case *one, const char *name)
{
	return !one->filter || strcmp(one->filter, "*") == 0 ||
	       strstr(name, one->filter) || begins_unwrapped(name, one->filter);
}

/* The place t of a gradient. The sum is written as MergeKit's is, so that it
 * rounds alike. */
static double interpolate(const struct setting_case *one, double t)
{
	double x = t * (double)(one->n_values - 1);
	size_t i = (size_t)x;
	size_t next = i + 1 < one->n_values ? i + 1 : one->n_values - 1;
	double f = x - (double)i;
	return (1 - f) * one->values[i].value + f * one->values[next].value;
}

static int evaluate(const struct resolve_scope *scope,
		    const struct method_param *param,
		    const struct setting_case *one, const char *name, double t,
		    double *ret, struct error *err)
{
	if (param->type == PARAM_BOOL) {
		size_t i = (size_t)(t * (double)(one->n_values - 1));
		*ret = one->values[i].value;
		return 0;
	}

	double value = interpolate(one, t);
	if (param->type == PARAM_INT && value != floor(value))
		return error_set(err, -EINVAL,
				 "%s:%u: the gradient of '%s' gives %g for %s; "
				 "it must give whole numbers",
				 scope->recipe->path, one->line, param->name,
				 value, name);
	*ret = value;
	return 0;
}

int resolve(const struct resolve_scope *scope, const struct method_param *param,
	    int source, const char *name, double t, double *ret,
	    struct error *err)
{
	bool own = source >= 0 && param->per_model;
	const struct settings *levels[] = {
		own ? &scope->slice->sources[source].parameters : NULL,
		&scope->slice->parameters,
		&scope->module->parameters,
		&scope->recipe->parameters,
	};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		const struct setting *setting =
			levels[i] ? settings_find(levels[i], param->name)
				  : NULL;
		size_t n_cases = setting ? setting->n_cases : 0;
		size_t k = 0;
		while (k < n_cases && !lets_through(&setting->cases[k], name))
			k++;
		if (k == n_cases || !setting->cases[k].n_values)
			continue;
		return evaluate(scope, param, &setting->cases[k], name, t, ret,
				err);
	}
	return -ENODATA;
}
