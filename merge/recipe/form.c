#include "merge/recipe/form.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "merge/recipe/scalar.h"
#include "util/text.h"

#define MAX_NOTES 1000

int form_error(const struct form *form, unsigned line, const char *format, ...)
{
	char sentence[sizeof(((struct error *)0)->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	return error_set(form->err, -EINVAL, "%s:%u: %s", form->path, line,
			 sentence);
}

int form_out_of_memory(const struct form *form)
{
	return error_set(form->err, -ENOMEM, "%s: out of memory", form->path);
}

int form_note(const struct form *form, unsigned line, const char *format, ...)
{
	if (!form->notes || form->notes->n_lines >= MAX_NOTES)
		return 0;

	char sentence[sizeof(((struct error *)0)->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	int r = notes_add(form->notes, "%s:%u: %s", form->path, line, sentence);
	return r < 0 ? form_out_of_memory(form) : 0;
}

const struct yaml_pair *form_find(const struct yaml *map, const char *key)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct yaml_pair *pair = &map->pairs[i];
		if (strcmp(pair->key, key) == 0)
			return pair->value->kind == YAML_NULL ? NULL : pair;
	}
	return NULL;
}

int form_is(const struct form *form, const struct yaml *node,
	    enum yaml_kind kind, const char *what)
{
	static const char *const kinds[] = {
		[YAML_NULL] = "nothing",
		[YAML_SCALAR] = "a single value",
		[YAML_LIST] = "a list",
		[YAML_MAP] = "a map of keys and values",
	};
	if (node->kind == kind)
		return 0;
	return form_error(form, node->line, "%s must be %s, not %s", what,
			  kinds[kind], kinds[node->kind]);
}

static void list_words(struct text *list, const char *const *words)
{
	for (size_t i = 0; words[i]; i++)
		text_printf(list, "%s%s", i ? ", " : "", words[i]);
}

int form_unknown_key(const struct form *form, const struct yaml_pair *pair,
		     const char *what, const char *const *known)
{
	if (form->lax)
		return form_note(form, pair->line,
				 "unknown key '%s' in %s is ignored", pair->key,
				 what);

	const char *nearest = text_nearest(pair->key, known);
	if (nearest)
		return form_error(form, pair->line,
				  "unknown key '%s' in %s; did you mean %s?",
				  pair->key, what, nearest);

	struct text list = {0};
	list_words(&list, known);
	AUTO_FREE char *words = text_take(&list);
	if (!words)
		return form_out_of_memory(form);
	return form_error(form, pair->line,
			  "unknown key '%s' in %s; its keys are %s", pair->key,
			  what, words);
}

int form_keys(const struct form *form, const struct yaml *map, const char *what,
	      const char *const *known)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct yaml_pair *pair = &map->pairs[i];
		size_t k = 0;
		while (known[k] && strcmp(known[k], pair->key) != 0)
			k++;
		if (known[k])
			continue;

		int r = form_unknown_key(form, pair, what, known);
		if (r < 0)
			return r;
	}
	return 0;
}

int form_text(const struct form *form, const struct yaml *node,
	      const char *what, char **ret)
{
	int r = form_is(form, node, YAML_SCALAR, what);
	if (r < 0)
		return r;
	if (scalar_kind(node->text, node->quoted) != SCALAR_TEXT)
		return form_error(form, node->line,
				  "%s must be a text; to mean the text '%s', "
				  "put it in quotes",
				  what, node->text);
	*ret = strdup(node->text);
	return *ret ? 0 : form_out_of_memory(form);
}
