#include "merge/recipe/module.h"

#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"
#include "merge/recipe/recipe.h"
#include "merge/recipe/scalar.h"

static void slice_done(struct recipe_slice *slice)
{
	for (size_t i = 0; i < slice->n_sources; i++) {
		model_ref_done(&slice->sources[i].model);
		settings_done(&slice->sources[i].parameters);
	}
	free(slice->sources);
	model_ref_done(&slice->base);
	settings_done(&slice->parameters);
}

void module_done(struct recipe_module *module)
{
	for (size_t i = 0; i < module->n_slices; i++)
		slice_done(&module->slices[i]);
	free(module->slices);
	settings_done(&module->parameters);
	free(module->name);
}

static int read_parameters(const struct form *form, const struct yaml *map,
			   bool of_model, struct settings *ret)
{
	const struct yaml_pair *pair = form_find(map, "parameters");
	return pair ? settings_read(form, pair->value, of_model, ret) : 0;
}

/* layer_range: [first, end] */
static int read_range(const struct form *form, const struct yaml *node,
		      struct recipe_source *ret)
{
	static const struct method_param layer = {.type = PARAM_INT};
	static const char what[] = "layer_range";

	if (node->kind != YAML_LIST || node->n != 2)
		return form_error(form, node->line,
				  "layer_range must be a list of two layers, "
				  "[first, end]");

	double first, end;
	int r = scalar_value(form, node->items[0], &layer, what, &first);
	if (r == 0)
		r = scalar_value(form, node->items[1], &layer, what, &end);
	if (r < 0)
		return r;
	if (first < 0)
		return form_error(form, node->line,
				  "layer_range begins at layer %.0f; layers "
				  "are counted from 0",
				  first);
	if (end <= first)
		return form_error(form, node->line,
				  "layer_range [%.0f, %.0f] holds no layer; "
				  "its end is the layer behind the last",
				  first, end);
	ret->ranged = true;
	ret->first = (int64_t)first;
	ret->end = (int64_t)end;
	return 0;
}

static int read_model(const struct form *form, const struct yaml *map,
		      struct model_ref *ret)
{
	const struct yaml_pair *model = form_find(map, "model");
	if (!model)
		return form_error(form, map->line,
				  "this entry lacks its model:");
	int r = model_ref_read(form, model->value, "model", ret);
	if (r < 0)
		return r;

	const struct yaml_pair *revision = form_find(map, "revision");
	if (!revision)
		return 0;
	if (ret->revision)
		return form_error(form, revision->line,
				  "the model names revision '%s' already",
				  ret->revision);
	return form_text(form, revision->value, "revision", &ret->revision);
}

/* An entry of sources:, or of models:. */
static int read_source(const struct form *form, const struct yaml *node,
		       bool sliced, struct recipe_source *ret)
{
	static const char *const of_models[] = {"model", "revision",
						"parameters", NULL};
	static const char *const of_sources[] = {
		"model", "revision", "layer_range", "parameters", NULL};

	ret->line = node->line;
	int r = form_is(form, node, YAML_MAP,
			sliced ? "an entry of sources" : "an entry of models");
	if (r < 0)
		return r;

	const struct yaml_pair *range = form_find(node, "layer_range");
	if (range && !sliced && !form->lax)
		return form_error(form, range->line,
				  "layer_range has no effect under models:; "
				  "use slices: with sources:");
	if (!range && sliced)
		return form_error(form, node->line,
				  "this source lacks its layer_range: [first, "
				  "end]");

	r = form_keys(form, node, sliced ? "a source" : "a model",
		      sliced ? of_sources : of_models);
	if (r == 0)
		r = read_model(form, node, &ret->model);
	if (r == 0 && sliced)
		r = read_range(form, range->value, ret);
	if (r == 0)
		r = read_parameters(form, node, true, &ret->parameters);
	return r;
}

static int read_sources(const struct form *form, const struct yaml_pair *pair,
			bool sliced, struct recipe_slice *ret)
{
	const struct yaml *list = pair->value;
	int r = form_is(form, list, YAML_LIST, pair->key);
	if (r < 0)
		return r;
	if (!list->n)
		return form_error(form, pair->line, "%s: is empty", pair->key);

	ret->sources = calloc(list->n, sizeof(*ret->sources));
	if (!ret->sources)
		return form_out_of_memory(form);
	for (size_t i = 0; i < list->n; i++) {
		ret->n_sources = i + 1;
		r = read_source(form, list->items[i], sliced, &ret->sources[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_slice(const struct form *form, const struct yaml *node,
		      struct recipe_slice *ret)
{
	static const char *const keys[] = {
		"sources", "base_model", "parameters", "residual_weight", NULL};
	ret->line = node->line;
	int r = form_is(form, node, YAML_MAP, "a slice");
	if (r == 0)
		r = form_keys(form, node, "a slice", keys);
	if (r < 0)
		return r;

	const struct yaml_pair *sources = form_find(node, "sources");
	if (!sources)
		return form_error(form, node->line,
				  "this slice lacks its sources:");
	r = read_sources(form, sources, true, ret);
	if (r < 0)
		return r;

	const struct yaml_pair *base = form_find(node, "base_model");
	if (base)
		r = model_ref_read(form, base->value, "base_model", &ret->base);
	const struct yaml_pair *residual = form_find(node, "residual_weight");
	if (r == 0 && residual)
		r = form_note(form, residual->line,
			      "residual_weight has no effect in any method");
	if (r == 0)
		r = read_parameters(form, node, false, &ret->parameters);
	return r;
}

static int read_slices(const struct form *form, const struct yaml_pair *pair,
		       struct recipe_module *ret)
{
	const struct yaml *list = pair->value;
	int r = form_is(form, list, YAML_LIST, "slices");
	if (r < 0)
		return r;

	ret->sliced = true;
	ret->slices = calloc(list->n, sizeof(*ret->slices));
	if (!ret->slices)
		return form_out_of_memory(form);
	for (size_t i = 0; i < list->n; i++) {
		ret->n_slices = i + 1;
		r = read_slice(form, list->items[i], &ret->slices[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What models: or slices: hold. */
static int read_content(const struct form *form, const struct yaml_pair *pair,
			struct recipe_module *ret)
{
	if (strcmp(pair->key, "slices") == 0)
		return read_slices(form, pair, ret);

	ret->slices = calloc(1, sizeof(*ret->slices));
	if (!ret->slices)
		return form_out_of_memory(form);
	ret->n_slices = 1;
	ret->slices->line = pair->line;
	return read_sources(form, pair, false, ret->slices);
}

/* The one of the keys that is there and not empty. */
static int find_content(const struct form *form, const struct yaml *map,
			const char *const *keys, const char *wanted,
			const struct yaml_pair **ret)
{
	const struct yaml_pair *found = NULL, *empty = NULL;

	for (; *keys; keys++) {
		const struct yaml_pair *pair = form_find(map, *keys);
		if (!pair)
			continue;
		if (pair->value->kind != YAML_SCALAR && !pair->value->n) {
			empty = pair;
			continue;
		}
		if (found) {
			bool later = pair->line > found->line;
			const struct yaml_pair *first = later ? found : pair;
			const struct yaml_pair *second = later ? pair : found;
			return form_error(form, second->line,
					  "both %s: (line %u) and %s: are "
					  "given; give one of them",
					  first->key, first->line, second->key);
		}
		found = pair;
	}
	if (!found && empty)
		return form_error(form, empty->line, "%s: is empty",
				  empty->key);
	if (!found)
		return form_error(form, map->line, "nothing to merge: give %s",
				  wanted);
	*ret = found;
	return 0;
}

static int read_module(const struct form *form, const struct yaml_pair *pair,
		       struct recipe_module *ret)
{
	static const char *const keys[] = {"models", "slices", "parameters",
					   NULL};
	static const char *const contents[] = {"models", "slices", NULL};
	const struct yaml *map = pair->value;

	ret->line = pair->line;
	ret->name = strdup(pair->key);
	if (!ret->name)
		return form_out_of_memory(form);
	int r = form_is(form, map, YAML_MAP, "a module");
	if (r == 0)
		r = form_keys(form, map, "a module", keys);
	if (r < 0)
		return r;

	const struct yaml_pair *content;
	r = find_content(form, map, contents, "models: or slices:", &content);
	if (r == 0)
		r = read_content(form, content, ret);
	if (r == 0)
		r = read_parameters(form, map, false, &ret->parameters);
	return r;
}

int modules_read(const struct form *form, const struct yaml *document,
		 struct recipe *recipe)
{
	static const char *const contents[] = {"models", "slices", "modules",
					       NULL};
	const struct yaml_pair *content;
	int r = find_content(form, document, contents,
			     "models:, slices: or modules:", &content);
	if (r < 0)
		return r;

	const struct yaml *value = content->value;
	bool named = strcmp(content->key, "modules") == 0;
	if (named)
		r = form_is(form, value, YAML_MAP, "modules");
	if (r < 0)
		return r;

	size_t n = named ? value->n : 1;
	recipe->modules = calloc(n, sizeof(*recipe->modules));
	if (!recipe->modules)
		return form_out_of_memory(form);
	for (size_t i = 0; i < n; i++) {
		struct recipe_module *module = &recipe->modules[i];
		recipe->n_modules = i + 1;
		module->line = content->line;
		r = named ? read_module(form, &value->pairs[i], module)
			  : read_content(form, content, module);
		if (r < 0)
			return r;
	}
	return 0;
}
