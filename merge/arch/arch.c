#include "merge/arch/arch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/source.h"
#include "util/json.h"

/* Layers that follow the counted ones: extra prediction layers. */
#define MAX_BEYOND 8

struct stack {
	char *prefix;	   /* owned */
	uint64_t n_layers; /* highest number + 1 */
	size_t n_tensors;
	char *count_key;  /* owned */
	uint64_t counted; /* what config.json says */
};

struct stacks {
	struct stack *items; /* (n,) in the order of names */
	size_t n;
};

static void stacks_done(struct stacks *stacks)
{
	for (size_t i = 0; i < stacks->n; i++) {
		free(stacks->items[i].prefix);
		free(stacks->items[i].count_key);
	}
	free(stacks->items);
}

static struct stack *find_stack(struct stacks *stacks, const char *name,
				size_t prefix)
{
	/* Names are sorted, so the stack is almost always the last one. */
	for (size_t i = stacks->n; i-- > 0;) {
		struct stack *stack = &stacks->items[i];
		if (strlen(stack->prefix) == prefix &&
		    strncmp(stack->prefix, name, prefix) == 0)
			return stack;
	}

	struct stack *items =
		reallocarray(stacks->items, stacks->n + 1, sizeof(*items));
	if (!items)
		return NULL;
	stacks->items = items;
	items[stacks->n] = (struct stack){.prefix = strndup(name, prefix)};
	return items[stacks->n].prefix ? &items[stacks->n++] : NULL;
}

static int find_stacks(const struct source *source, struct stacks *stacks)
{
	for (size_t i = 0; i < source->n_tensors; i++) {
		const char *name = source->tensors[i].name;
		size_t prefix;
		uint64_t layer;
		const char *rest;
		if (!arch_split(name, &prefix, &layer, &rest))
			continue;
		struct stack *stack = find_stack(stacks, name, prefix);
		if (!stack)
			return -ENOMEM;
		stack->n_tensors++;
		if (layer + 1 > stack->n_layers)
			stack->n_layers = layer + 1;
	}
	return 0;
}

static bool has(const char *text, const char *word)
{
	return strstr(text, word) != NULL;
}

/* Keys that count layers, in the order of preference between equals. */
static bool is_count_key(const char *key)
{
	static const char *const keys[] = {
		"num_hidden_layers",
		"n_layer",
		"num_layers",
		"n_layers",
		"encoder_layers",
		"decoder_layers",
		"num_decoder_layers",
		"num_encoder_layers",
		"depth",
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		if (strcmp(key, keys[i]) == 0)
			return true;
	}
	return false;
}

/* -1: speaks against, 0: does not matter, 1: speaks for. */
static int agree(bool in_key, bool in_prefix)
{
	if (in_key == in_prefix)
		return in_key ? 1 : 0;
	return -1;
}

/*
 * How well a key fits a stack: both may speak of a part of the model (vision,
 * audio, encoder, decoder), and the number should be the stack's.
 */
static int key_score(const char *section, const char *key,
		     const struct stack *stack, uint64_t value)
{
	const char *prefix = stack->prefix;
	bool vision = has(prefix, "vision") || has(prefix, "visual");
	bool audio = has(prefix, "audio") || has(prefix, "speech");
	int score = 4 * agree(has(section, "vis"), vision) +
		    4 * agree(has(section, "audio"), audio);

	if (has(key, "decoder"))
		score += 2 * agree(true, has(prefix, "decoder"));
	else if (has(key, "encoder"))
		score += 2 * agree(true, has(prefix, "encoder"));
	if (value == stack->n_layers)
		score += 3;
	else if (value < stack->n_layers &&
		 stack->n_layers - value > MAX_BEYOND)
		score -= 8;
	else if (value > stack->n_layers && stack->n_layers < 2)
		score -= 8; /* a numbered pair of tensors, not layers */
	return score;
}

static int offer_key(struct stack *stack, const char *section,
		     const cJSON *item, int *best)
{
	uint64_t value;
	if (!item->string || !is_count_key(item->string) ||
	    !json_u64(item, &value) || value == 0)
		return 0;

	int score = key_score(section, item->string, stack, value);
	if (score < 0 || score <= *best)
		return 0;
	char *key = NULL;
	if (asprintf(&key, "%s%s%s", section, *section ? "." : "",
		     item->string) < 0)
		return -ENOMEM;
	free(stack->count_key);
	stack->count_key = key;
	stack->counted = value;
	*best = score;
	return 0;
}

/* Looks for the number of a stack's layers in config.json and its sections. */
static int find_count(const cJSON *config, struct stack *stack)
{
	int best = -1;

	for (const cJSON *item = config->child; item; item = item->next) {
		int r = offer_key(stack, "", item, &best);
		if (r < 0)
			return r;
		if (!cJSON_IsObject(item) || !item->string)
			continue;
		for (const cJSON *in = item->child; in; in = in->next) {
			r = offer_key(stack, item->string, in, &best);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Two stacks cannot have the same key: the longer run of tensors keeps it. */
static void settle_keys(struct stacks *stacks)
{
	for (size_t i = 0; i < stacks->n; i++) {
		for (size_t j = 0; j < stacks->n; j++) {
			struct stack *a = &stacks->items[i];
			struct stack *b = &stacks->items[j];
			if (i == j || !a->count_key || !b->count_key ||
			    strcmp(a->count_key, b->count_key) != 0)
				continue;
			struct stack *less =
				a->n_tensors < b->n_tensors ? a : b;
			free(less->count_key);
			less->count_key = NULL;
		}
	}
}

/* Without any count in config.json the largest stack is the model's. */
static struct stack *largest(const struct stacks *stacks)
{
	struct stack *best = NULL;

	for (size_t i = 0; i < stacks->n; i++) {
		if (!best || stacks->items[i].n_tensors > best->n_tensors)
			best = &stacks->items[i];
	}
	return best;
}

static int add_module(struct arch *arch, const char *name, size_t length,
		      struct stack *stack)
{
	struct arch_module *modules = reallocarray(
		arch->modules, arch->n_modules + 1, sizeof(*modules));
	if (!modules)
		return -ENOMEM;
	arch->modules = modules;

	struct arch_module *module = &modules[arch->n_modules];
	*module = (struct arch_module){.name = strndup(name, length)};
	if (!module->name)
		return -ENOMEM;
	arch->n_modules++;
	if (!stack)
		return 0;
	module->prefix = TAKE(stack->prefix);
	module->count_key = TAKE(stack->count_key);
	module->n_layers = module->count_key ? stack->counted : stack->n_layers;
	return 0;
}

/* Length of a name's leading component behind the common one. */
static size_t head_length(const struct arch *arch, const char *name,
			  const char **ret_head)
{
	size_t common = strlen(arch->common);

	*ret_head = name;
	if (common > 0 && strncmp(name, arch->common, common) == 0)
		*ret_head = name + common;
	return strcspn(*ret_head, ".");
}

static int find_named(const struct arch *arch, const char *name, size_t length)
{
	for (size_t i = 0; i < arch->n_modules; i++) {
		if (strlen(arch->modules[i].name) == length &&
		    strncmp(arch->modules[i].name, name, length) == 0)
			return (int)i;
	}
	return -1;
}

/* The component with its '.' that all counted stacks begin with, or "". */
static int find_common(struct arch *arch, const struct stacks *stacks)
{
	const char *first = NULL;
	size_t length = 0;

	for (size_t i = 0; i < stacks->n; i++) {
		if (!stacks->items[i].count_key)
			continue;
		const char *prefix = stacks->items[i].prefix;
		if (!first) {
			first = prefix;
			length = strcspn(prefix, ".") + 1;
		} else if (strncmp(first, prefix, length) != 0) {
			length = 0;
		}
	}
	arch->common = strndup(first ? first : "", length);
	return arch->common ? 0 : -ENOMEM;
}

/* Is this module's stack one of text? */
static bool is_text(const struct arch_module *module)
{
	return module->prefix &&
	       (has(module->prefix, "language_model") ||
		(module->count_key && has(module->count_key, "text")) ||
		has(module->prefix, "decoder") ||
		strcmp(module->prefix, "model.layers.") == 0);
}

static int first_text(const struct arch *arch)
{
	for (size_t i = 0; i < arch->n_modules; i++) {
		if (is_text(&arch->modules[i]))
			return (int)i;
	}
	return -1;
}

/* A head goes with its embedding: one that both stacks share, else that of the
 * text. */
static void find_head(struct arch *arch, const struct source *source)
{
	int text = first_text(arch);
	arch->head = text < 0 ? 0 : (size_t)text;

	for (size_t i = 0; i < source->n_tensors; i++) {
		const char *name = source->tensors[i].name;
		const char *head;
		size_t length = head_length(arch, name, &head);
		int module = find_named(arch, head, length);
		if (arch_is_embedding(name) && module >= 0 &&
		    !arch->modules[module].prefix)
			arch->head = (size_t)module;
	}
}

/* A module per leading component; heads and norms beside them find their
 * module in arch_locate(). */
static int add_modules(struct arch *arch, struct stacks *stacks,
		       const struct source *source)
{
	int r = find_common(arch, stacks);
	if (r < 0)
		return r;
	for (size_t i = 0; i < stacks->n; i++) {
		struct stack *stack = &stacks->items[i];
		if (!stack->count_key)
			continue;
		AUTO_FREE char *prefix = strdup(stack->prefix);
		if (!prefix)
			return -ENOMEM;
		const char *head;
		size_t length = head_length(arch, prefix, &head);
		if (find_named(arch, head, length) >= 0)
			continue;
		r = add_module(arch, head, length, stack);
		if (r < 0)
			return r;
	}

	for (size_t i = 0; i < source->n_tensors; i++) {
		const char *name = source->tensors[i].name;
		const char *head;
		size_t length = head_length(arch, name, &head);
		if (arch_is_head(name) || find_named(arch, head, length) >= 0)
			continue;
		r = add_module(arch, head, length, NULL);
		if (r < 0)
			return r;
	}
	find_head(arch, source);
	return 0;
}

static int check_counts(const struct stacks *stacks,
			const struct source *source, struct error *err)
{
	for (size_t i = 0; i < stacks->n; i++) {
		const struct stack *stack = &stacks->items[i];
		if (!stack->count_key || stack->counted <= stack->n_layers)
			continue;
		return error_set(err, -EINVAL,
				 "%s/config.json: %s is %llu, but the weights "
				 "have only %llu layers (%s0 to %llu)",
				 source->directory, stack->count_key,
				 (unsigned long long)stack->counted,
				 (unsigned long long)stack->n_layers,
				 stack->prefix,
				 (unsigned long long)stack->n_layers - 1);
	}
	return 0;
}

static int build(struct arch *arch, struct stacks *stacks,
		 const struct source *source, struct error *err)
{
	int r = find_stacks(source, stacks);
	for (size_t i = 0; r == 0 && i < stacks->n; i++)
		r = find_count(source->config, &stacks->items[i]);
	if (r < 0)
		return r;
	settle_keys(stacks);
	r = check_counts(stacks, source, err);
	if (r < 0)
		return r;

	size_t n_counted = 0;
	struct stack *only = NULL;
	for (size_t i = 0; i < stacks->n; i++) {
		if (!stacks->items[i].count_key)
			continue;
		only = &stacks->items[i];
		n_counted++;
	}
	if (n_counted > 1)
		return add_modules(arch, stacks, source);
	arch->common = strdup("");
	if (!arch->common)
		return -ENOMEM;
	return add_module(arch, "default", 7,
			  n_counted ? only : largest(stacks));
}

int arch_infer(const struct source *source, struct arch **ret,
	       struct error *err)
{
	AUTO(arch) arch = calloc(1, sizeof(*arch));
	if (!arch)
		return error_set(err, -ENOMEM, "out of memory");

	struct stacks stacks = {0};
	int r = build(arch, &stacks, source, err);
	stacks_done(&stacks);
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r < 0)
		return r;
	*ret = TAKE(arch);
	return 0;
}

void arch_free(struct arch *arch)
{
	if (!arch)
		return;
	for (size_t i = 0; i < arch->n_modules; i++) {
		free(arch->modules[i].name);
		free(arch->modules[i].prefix);
		free(arch->modules[i].count_key);
	}
	free(arch->modules);
	free(arch->common);
	free(arch);
}

int arch_module_find(const struct arch *arch, const char *name)
{
	int found = find_named(arch, name, strlen(name));
	if (found >= 0)
		return found;

	if (strcmp(name, "text_decoder") == 0)
		return first_text(arch);
	for (size_t i = 0; i < arch->n_modules; i++) {
		const char *prefix = arch->modules[i].prefix;
		if (prefix && has(name, "vision") &&
		    (has(prefix, "vision") || has(prefix, "visual")))
			return (int)i;
	}
	return -1;
}

static size_t module_of(const struct arch *arch, const char *name)
{
	if (arch->n_modules == 1)
		return 0;

	const char *head;
	size_t length = head_length(arch, name, &head);
	int found = find_named(arch, head, length);
	return found < 0 ? arch->head : (size_t)found;
}

/* Embeddings of any kind and what is done to them come before the layers. */
static bool comes_before(const char *name)
{
	if (arch_is_head(name) || has(name, "unembed"))
		return false;
	return has(name, "emb") || has(name, "wte") || has(name, "wpe") ||
	       has(name, "shared.") || has(name, "rotary") ||
	       has(name, "patch");
}

void arch_locate(const struct arch *arch, const char *name,
		 struct arch_place *ret)
{
	size_t prefix;
	uint64_t layer;
	const char *rest;

	*ret = (struct arch_place){.module = module_of(arch, name)};
	const struct arch_module *module = &arch->modules[ret->module];
	if (module->prefix && arch_split(name, &prefix, &layer, &rest) &&
	    strlen(module->prefix) == prefix &&
	    strncmp(module->prefix, name, prefix) == 0) {
		ret->layer = layer;
		ret->beyond = layer >= module->n_layers;
		ret->position = ret->beyond ? ARCH_AFTER : ARCH_LAYER;
		return;
	}
	ret->position = comes_before(name) ? ARCH_BEFORE : ARCH_AFTER;
}

uint64_t arch_layers(const struct arch_module *module,
		     const struct source *source)
{
	uint64_t value;
	if (module->count_key &&
	    json_u64(json_at(source->config, module->count_key), &value))
		return value;

	uint64_t n_layers = 0;
	for (size_t i = 0; i < source->n_tensors; i++) {
		size_t prefix;
		uint64_t layer;
		const char *rest;
		if (arch_split(source->tensors[i].name, &prefix, &layer,
			       &rest) &&
		    module->prefix && strlen(module->prefix) == prefix &&
		    strncmp(module->prefix, source->tensors[i].name, prefix) ==
			    0 &&
		    layer + 1 > n_layers)
			n_layers = layer + 1;
	}
	return n_layers;
}
