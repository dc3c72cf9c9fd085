#include "merge/recipe/check.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"
#include "merge/recipe/recipe.h"

struct scope { /* the slice that is judged */
	const struct form *form;
	const struct recipe *recipe;
	const struct recipe_module *module;
	const struct recipe_slice *slice;
	const struct model_ref *base; /* or NULL */
	/* Is it an input although it is not listed? Only under models:. */
	bool base_appended;
};

static int check_base(const struct scope *scope)
{
	const struct recipe *recipe = scope->recipe;
	const struct method *method = recipe->method;

	if (method->base == BASE_ORDINARY)
		return 0;
	if (!scope->base && method->base == BASE_REQUIRED)
		return form_error(
			scope->form, recipe->method_line,
			"method %s needs a base_model:", method->name);
	if (scope->base && !scope->base_appended &&
	    recipe_find_source(scope->slice, scope->base) < 0)
		return form_error(scope->form, scope->slice->line,
				  "base_model '%s' is not among the sources "
				  "of this slice; list it with its layer_range",
				  scope->base->path);
	return 0;
}

static size_t count_inputs(const struct scope *scope)
{
	const struct recipe_slice *slice = scope->slice;
	if (scope->recipe->method->base != BASE_OPTIONAL || !scope->base)
		return slice->n_sources + scope->base_appended;

	size_t n = 0;
	for (size_t i = 0; i < slice->n_sources; i++)
		n += !model_ref_equal(&slice->sources[i].model, scope->base);
	return n;
}

static int check_inputs(const struct scope *scope)
{
	const struct method *method = scope->recipe->method;
	unsigned min = method->min_inputs, max = method->max_inputs;
	size_t n = count_inputs(scope);
	if (n >= INPUTS_MOST)
		return form_error(scope->form, scope->slice->line,
				  "%zu models are merged at once; fewer than "
				  "%d can be",
				  n, INPUTS_MOST);
	if (n >= min && (!max || n <= max))
		return 0;

	const char *limit = min == max ? "exactly"
			    : n < min  ? "at least"
				       : "at most";
	unsigned wanted = n < min ? min : max;
	const char *hint = "";
	if (method->base == BASE_OPTIONAL)
		hint = " besides the base_model";
	else if (scope->base_appended && method->base == BASE_ORDINARY)
		hint = "; base_model is one of them, leave it out";
	else if (scope->base_appended)
		hint = "; base_model is one of them";
	return form_error(scope->form, scope->slice->line,
			  "method %s takes %s %u model%s, here are %zu%s",
			  method->name, limit, wanted, wanted == 1 ? "" : "s",
			  n, hint);
}

static int check_ranges(const struct scope *scope)
{
	const struct recipe_source *first = &scope->slice->sources[0];
	int64_t length = first->end - first->first;

	for (size_t i = 1; i < scope->slice->n_sources; i++) {
		const struct recipe_source *source = &scope->slice->sources[i];
		int64_t other = source->end - source->first;
		if (other == length)
			continue;
		return form_error(scope->form, source->line,
				  "this source has %" PRId64
				  " layers, the first of its slice %" PRId64
				  "; all must have as many",
				  other, length);
	}
	return 0;
}

/*
 * The settings of a parameter from the nearest level to the widest, those that
 * give no value left out; source NULL: none of its own.
 */
static const struct setting *find_setting(const struct scope *scope,
					  const struct recipe_source *source,
					  const struct method_param *param)
{
	const struct settings *levels[] = {
		source && param->per_model ? &source->parameters : NULL,
		&scope->slice->parameters,
		&scope->module->parameters,
		&scope->recipe->parameters,
	};
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		const struct setting *setting =
			levels[i] ? settings_find(levels[i], param->name)
				  : NULL;
		if (setting && setting_has_value(setting))
			return setting;
	}
	return NULL;
}

/* A required parameter that no level has for any tensor. */
static int check_required(const struct scope *scope,
			  const struct method_param *param)
{
	const struct method *method = scope->recipe->method;

	if (!param->per_model) {
		if (find_setting(scope, NULL, param))
			return 0;
		return form_error(scope->form, scope->recipe->method_line,
				  "method %s needs parameter '%s' under "
				  "parameters:",
				  method->name, param->name);
	}

	bool base_is_input = method->base == BASE_ORDINARY;
	for (size_t i = 0; i < scope->slice->n_sources; i++) {
		const struct recipe_source *source = &scope->slice->sources[i];
		if (!base_is_input && scope->base &&
		    model_ref_equal(&source->model, scope->base))
			continue;
		if (!find_setting(scope, source, param))
			return form_error(scope->form, source->line,
					  "method %s needs parameter '%s' for "
					  "each model; '%s' has none",
					  method->name, param->name,
					  source->model.path);
	}
	if (base_is_input && scope->base_appended &&
	    !find_setting(scope, NULL, param))
		return form_error(scope->form, scope->base->line,
				  "base_model is an input of method %s like "
				  "the others and has no '%s'; list it under "
				  "models: with one, or leave it out",
				  method->name, param->name);
	return 0;
}

/* Is the setting one number whatever the tensor? NULL: the default is. */
static bool is_plain(const struct setting *setting,
		     const struct method_param *param, double *ret)
{
	if (!setting) {
		*ret = param->value;
		return true;
	}
	const struct setting_case *one = &setting->cases[0];
	if (one->n_values != 1 ||
	    (one->filter && strcmp(one->filter, "*") != 0))
		return false;
	*ret = one->values[0].value;
	return true;
}

/*
 * Weights that a method divides by their sum must not cancel. Only a plain
 * average does so without further ado; what depends on a tensor's name or layer
 * is judged when tensors are known.
 */
static int check_weights(const struct scope *scope)
{
	const struct method *method = scope->recipe->method;
	int at_weight = method_param_find(method, "weight");
	int at_normalize = method_param_find(method, "normalize");
	if (method->base != BASE_ORDINARY || at_weight < 0 || at_normalize < 0)
		return 0;

	const struct method_param *weight = &method->params[at_weight];
	const struct method_param *normalize = &method->params[at_normalize];
	double value, sum = 0, size = 0;
	if (!is_plain(find_setting(scope, NULL, normalize), normalize,
		      &value) ||
	    !value)
		return 0;

	size_t n = scope->slice->n_sources;
	for (size_t i = 0; i < n + scope->base_appended; i++) {
		const struct recipe_source *source =
			i < n ? &scope->slice->sources[i] : NULL;
		if (!is_plain(find_setting(scope, source, weight), weight,
			      &value))
			return 0;
		sum += value;
		size += fabs(value);
	}
	if (fabs(sum) > 1e-7 * size)
		return 0;
	return form_error(scope->form, scope->slice->line,
			  "the weights sum to zero and cannot be normalized; "
			  "change one, or set normalize: false");
}

static int check_slice(const struct scope *scope)
{
	int r = check_base(scope);
	if (r == 0)
		r = check_inputs(scope);
	if (r == 0)
		r = check_ranges(scope);

	const struct method_param *param = scope->recipe->method->params;
	for (; r == 0 && param->name; param++) {
		if (param->required)
			r = check_required(scope, param);
	}
	return r == 0 ? check_weights(scope) : r;
}

int recipe_check(const struct form *form, const struct recipe *recipe)
{
	for (size_t i = 0; i < recipe->n_modules; i++) {
		const struct recipe_module *module = &recipe->modules[i];
		for (size_t j = 0; j < module->n_slices; j++) {
			struct scope scope = {
				.form = form,
				.recipe = recipe,
				.module = module,
				.slice = &module->slices[j],
			};
			scope.base = recipe_base(recipe, scope.slice);
			scope.base_appended =
				scope.base && !module->sliced &&
				recipe_find_source(scope.slice, scope.base) < 0;
			int r = check_slice(&scope);
			if (r < 0)
				return r;
		}
	}
	return 0;
}
