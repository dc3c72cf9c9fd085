/* Which tensor of an adapter is for what. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/adapt.h"
#include "merge/source/adapter.h"
#include "merge/source/source.h"
#include "util/text.h"

#define MAX_NAMED 6 /* keys left over that a sentence names */

enum part { PART_A, PART_B, PART_BIAS, PART_LENGTHS, PART_TOKENS };

static const struct suffix {
	const char *text;
	enum part part;
	bool embedding;
} suffixes[] = {
	{".lora_A.weight", PART_A, false},
	{".lora_B.weight", PART_B, false},
	{".lora_embedding_A", PART_A, true},
	{".lora_embedding_B", PART_B, true},
	{".lora_B.bias", PART_BIAS, false},
	{".lora_magnitude_vector", PART_LENGTHS, false},
	{".lora_magnitude_vector.weight", PART_LENGTHS, false},
	{".token_adapter.trainable_tokens_delta", PART_TOKENS, false},
};

static bool ends(const char *name, const char *ending)
{
	size_t n = strlen(name), m = strlen(ending);

	return n > m && strcmp(name + n - m, ending) == 0;
}

/* Cuts a component out of a dotted name, wherever it is; true if it was. */
static bool cut_component(char *name, const char *component)
{
	size_t length = strlen(component);

	for (char *at = strchr(name, '.'); at; at = strchr(at + 1, '.')) {
		if (strncmp(at + 1, component, length) != 0 ||
		    (at[1 + length] && at[1 + length] != '.'))
			continue;
		memmove(at, at + 1 + length, strlen(at + 1 + length) + 1);
		return true;
	}
	return false;
}

static struct adapt_module *find_module(struct adapt *adapt, const char *name,
					unsigned depth)
{
	for (size_t i = adapt->n_modules; i-- > 0;) {
		struct adapt_module *module = &adapt->modules[i];
		if (module->depth == depth && strcmp(module->name, name) == 0)
			return module;
		/* Keys are sorted, so those of a module are not far apart. */
		if (adapt->n_modules - i > 8)
			break;
	}

	struct adapt_module *module = &adapt->modules[adapt->n_modules];
	module->name = strdup(name);
	module->depth = depth;
	if (!module->name)
		return NULL;
	adapt->n_modules++;
	return module;
}

static int add_part(struct adapt *adapt, char *name,
		    const struct suffix *suffix, const struct tensor *tensor)
{
	name[strlen(name) - strlen(suffix->text)] = '\0';
	unsigned depth = 0;
	while (ends(name, ".base_layer")) {
		name[strlen(name) - strlen(".base_layer")] = '\0';
		depth++;
	}
	struct adapt_module *module = find_module(adapt, name, depth);
	if (!module)
		return adapt_no_memory(adapt);

	const struct tensor **parts[] = {
		[PART_A] = &module->a,
		[PART_B] = &module->b,
		[PART_BIAS] = &module->bias,
		[PART_LENGTHS] = &module->lengths,
		[PART_TOKENS] = &module->tokens,
	};
	if (*parts[suffix->part])
		return error_set(adapt->err, -EINVAL,
				 "%s: %s and %s are for the same",
				 adapt->config->path,
				 (*parts[suffix->part])->name, tensor->name);
	*parts[suffix->part] = tensor;
	module->embedding = module->embedding || suffix->embedding;
	return 0;
}

static int add_replacement(struct adapt *adapt, char *name,
			   const struct tensor *tensor)
{
	struct adapt_replacement *replacement =
		&adapt->replacements[adapt->n_replacements];

	cut_component(name, "base_layer");
	cut_component(name, "modules_to_save");
	replacement->ignored = cut_component(name, "original_module");
	replacement->tensor = tensor;
	replacement->name = strdup(name);
	if (!replacement->name)
		return adapt_no_memory(adapt);
	adapt->n_replacements++;
	return 0;
}

static int read_key(struct adapt *adapt, const struct tensor *tensor)
{
	static const char prefix[] = "base_model.model.";
	size_t length = sizeof(prefix) - 1;
	bool prefixed = strncmp(tensor->name, prefix, length) == 0;
	AUTO_FREE char *name = strdup(tensor->name + (prefixed ? length : 0));
	if (!name)
		return adapt_no_memory(adapt);
	if (!prefixed)
		return error_set(adapt->err, -EINVAL,
				 "%s: key %s does not begin with %s, so it is "
				 "not one of a LoRA adapter as PEFT saves it",
				 adapt->config->path, tensor->name, prefix);

	/* The adapter's name, that older versions wrote. */
	if (strstr(name, "lora_") || strstr(name, "modules_to_save") ||
	    strstr(name, "token_adapter"))
		cut_component(name, "default");
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (ends(name, suffixes[i].text))
			return add_part(adapt, name, &suffixes[i], tensor);
	}
	return add_replacement(adapt, name, tensor);
}

int adapt_read_keys(struct adapt *adapt)
{
	const struct source *adapter = adapt->terms.adapter;

	adapt->modules =
		calloc(adapter->n_tensors + 1, sizeof(*adapt->modules));
	adapt->replacements =
		calloc(adapter->n_tensors + 1, sizeof(*adapt->replacements));
	if (!adapt->modules || !adapt->replacements)
		return adapt_no_memory(adapt);
	for (size_t i = 0; i < adapter->n_tensors; i++) {
		int r = read_key(adapt, &adapter->tensors[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

struct leftovers {
	struct text text;
	size_t n;
};

static void leave(struct leftovers *leftovers, const struct tensor *tensor)
{
	if (tensor && leftovers->n++ < MAX_NAMED)
		text_printf(&leftovers->text, "%s%s",
			    leftovers->n > 1 ? ", " : "", tensor->name);
}

int adapt_check_keys(const struct adapt *adapt)
{
	struct leftovers leftovers = {0};

	for (size_t i = 0; i < adapt->n_modules; i++) {
		const struct adapt_module *module = &adapt->modules[i];
		if (module->used)
			continue;
		leave(&leftovers, module->a);
		leave(&leftovers, module->b);
		leave(&leftovers, module->bias);
		leave(&leftovers, module->lengths);
		leave(&leftovers, module->tokens);
	}
	for (size_t i = 0; i < adapt->n_replacements; i++) {
		const struct adapt_replacement *item = &adapt->replacements[i];
		if (!item->used)
			leave(&leftovers, item->tensor);
	}
	if (leftovers.n > MAX_NAMED)
		text_printf(&leftovers.text, " and %zu more",
			    leftovers.n - MAX_NAMED);
	AUTO_FREE char *names = text_take(&leftovers.text);
	if (leftovers.n == 0)
		return 0;
	return error_set(adapt->err, -EINVAL,
			 "%s: %s has no place for %zu of its %zu keys: %s; is "
			 "it the adapter's base?",
			 adapt->config->path, adapt->terms.base->label,
			 leftovers.n, adapt->terms.adapter->n_tensors,
			 names ? names : "");
}
