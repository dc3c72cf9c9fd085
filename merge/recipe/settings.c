#include "merge/recipe/settings.h"

#include <stdio.h>
#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"
#include "merge/recipe/scalar.h"
#include "util/text.h"

#define NAME_SHOWN 80 /* of a parameter's name, in sentences */

struct param { /* the parameter whose setting is read */
	const struct method_param *declared; /* NULL: another method's */
	char what[NAME_SHOWN + 16];	     /* "parameter 'NAME'" */
};

static void setting_done(struct setting *setting)
{
	for (size_t i = 0; i < setting->n_cases; i++) {
		struct setting_case *one = &setting->cases[i];
		for (size_t j = 0; j < one->n_values; j++)
			free(one->values[j].text);
		free(one->values);
		free(one->filter);
	}
	free(setting->cases);
	free(setting->name);
}

void settings_done(struct settings *settings)
{
	for (size_t i = 0; i < settings->n; i++)
		setting_done(&settings->items[i]);
	free(settings->items);
	*settings = (struct settings){0};
}

const struct setting *settings_find(const struct settings *settings,
				    const char *name)
{
	for (size_t i = 0; i < settings->n; i++) {
		if (strcmp(settings->items[i].name, name) == 0)
			return &settings->items[i];
	}
	return NULL;
}

bool setting_has_value(const struct setting *setting)
{
	for (size_t i = 0; i < setting->n_cases; i++) {
		if (setting->cases[i].n_values)
			return true;
	}
	return false;
}

static int read_scalar(const struct form *form, const struct yaml *node,
		       const struct param *param, struct scalar *ret)
{
	int r = scalar_value(form, node, param->declared, param->what,
			     &ret->value);
	if (r < 0)
		return r;
	ret->line = node->line;
	ret->quoted = node->quoted;
	ret->text = strdup(node->text);
	return ret->text ? 0 : form_out_of_memory(form);
}

/* A number, or a list of them. */
static int read_values(const struct form *form, const struct yaml *node,
		       const struct param *param, struct setting_case *ret)
{
	ret->line = node->line;
	ret->gradient = node->kind == YAML_LIST;
	size_t n = ret->gradient ? node->n : 1;

	ret->values = calloc(n + 1, sizeof(*ret->values));
	if (!ret->values)
		return form_out_of_memory(form);
	for (size_t i = 0; i < n; i++) {
		const struct yaml *item = ret->gradient ? node->items[i] : node;
		if (item->kind == YAML_LIST || item->kind == YAML_MAP)
			return form_error(form, item->line,
					  "%s: a gradient is a list of numbers "
					  "only",
					  param->what);
		ret->n_values = i + 1;
		int r = read_scalar(form, item, param, &ret->values[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* {value: ..., filter: ...} */
static int read_conditional(const struct form *form, const struct yaml *map,
			    const struct param *param, struct setting_case *ret)
{
	static const char *const keys[] = {"value", "filter", NULL};
	int r = form_keys(form, map, "a conditional value", keys);
	if (r < 0)
		return r;

	const struct yaml_pair *filter = form_find(map, "filter");
	if (filter)
		r = form_text(form, filter->value, "filter", &ret->filter);
	if (r < 0)
		return r;

	const struct yaml *value = yaml_get(map, "value");
	if (!value)
		return form_error(form, map->line,
				  "%s: a conditional value lacks its value:",
				  param->what);
	return read_values(form, value, param, ret);
}

static int read_conditionals(const struct form *form, const struct yaml *node,
			     const struct param *param, struct setting *ret)
{
	bool single = node->kind == YAML_MAP;
	size_t n = single ? 1 : node->n;

	ret->cases = calloc(n, sizeof(*ret->cases));
	if (!ret->cases)
		return form_out_of_memory(form);
	for (size_t i = 0; i < n; i++) {
		const struct yaml *item = single ? node : node->items[i];
		if (item->kind != YAML_MAP)
			return form_error(form, item->line,
					  "%s: a list holds either numbers or "
					  "maps with value: and filter:, not "
					  "both",
					  param->what);
		ret->n_cases = i + 1;
		int r = read_conditional(form, item, param, &ret->cases[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_conditional(const struct yaml *node)
{
	if (node->kind != YAML_LIST)
		return node->kind == YAML_MAP;
	for (size_t i = 0; i < node->n; i++) {
		if (node->items[i]->kind == YAML_MAP)
			return true;
	}
	return false;
}

static int read_setting(const struct form *form, const struct yaml_pair *pair,
			const struct param *param, struct setting *ret)
{
	const struct yaml *node = pair->value;

	ret->line = pair->line;
	ret->name = strdup(pair->key);
	if (!ret->name)
		return form_out_of_memory(form);
	if (is_conditional(node))
		return read_conditionals(form, node, param, ret);

	ret->cases = calloc(1, sizeof(*ret->cases));
	if (!ret->cases)
		return form_out_of_memory(form);
	ret->n_cases = 1;
	return read_values(form, node, param, ret->cases);
}

/* Parameters of one method that a word may be meant to be. */
static size_t add_params(const struct method *method, const char **names,
			 size_t n, size_t most)
{
	const struct method_param *param = method->params;

	while (param->name && n + 1 < most)
		names[n++] = (param++)->name;
	names[n] = NULL;
	return n;
}

/* The nearest parameter of the method itself, else of any method. */
static const char *nearest_param(const struct method *method, const char *name)
{
	const char *names[256];
	size_t n = 0;

	add_params(method, names, 0, ARRAY_SIZE(names));
	const char *nearest = text_nearest(name, names);
	for (const struct method *const *at = method_all(); *at; at++)
		n = add_params(*at, names, n, ARRAY_SIZE(names));
	return nearest ? nearest : text_nearest(name, names);
}

/* A parameter that the recipe's method does not have. */
static int read_foreign(const struct form *form, const struct yaml_pair *pair,
			const struct param *param)
{
	const char *method = form->method->name;

	if (method_knows_param(pair->key)) {
		struct setting unused = {0};
		int r = read_setting(form, pair, param, &unused);
		setting_done(&unused);
		if (r < 0)
			return r;
		return form_note(form, pair->line,
				 "parameter '%s' has no effect in method %s",
				 pair->key, method);
	}
	if (form->lax)
		return form_note(form, pair->line,
				 "unknown parameter '%s' is ignored",
				 pair->key);

	const char *nearest = nearest_param(form->method, pair->key);
	if (nearest)
		return form_error(form, pair->line,
				  "no parameter '%s'; did you mean %s?",
				  pair->key, nearest);
	return form_error(form, pair->line, "no method has a parameter '%s'",
			  pair->key);
}

int settings_read(const struct form *form, const struct yaml *node,
		  bool of_model, struct settings *ret)
{
	int r = form_is(form, node, YAML_MAP, "parameters");
	if (r < 0)
		return r;
	ret->items = calloc(node->n + 1, sizeof(*ret->items));
	if (!ret->items)
		return form_out_of_memory(form);

	for (size_t i = 0; i < node->n; i++) {
		const struct yaml_pair *pair = &node->pairs[i];
		struct param param = {0};
		snprintf(param.what, sizeof(param.what), "parameter '%.*s'",
			 NAME_SHOWN, pair->key);

		int place = method_param_find(form->method, pair->key);
		if (place < 0) {
			r = read_foreign(form, pair, &param);
			if (r < 0)
				return r;
			continue;
		}

		param.declared = &form->method->params[place];
		r = read_setting(form, pair, &param, &ret->items[ret->n++]);
		if (r == 0 && of_model && !param.declared->per_model)
			r = form_note(form, pair->line,
				      "parameter '%s' has no effect under a "
				      "model: method %s has one for all",
				      pair->key, form->method->name);
		if (r < 0)
			return r;
	}
	return 0;
}
