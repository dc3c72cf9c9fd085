#include "merge/engine/adapted.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/engine/adapt.h"
#include "merge/engine/node.h"
#include "merge/engine/node_set.h"
#include "merge/engine/plan.h"
#include "merge/output/config.h"
#include "merge/source/adapter.h"
#include "merge/source/source.h"
#include "util/json.h"

struct adapted {
	struct adapted_terms terms;
	struct source *source; /* owned */
	struct node **nodes;   /* (source->n_tensors,) owned array */
	struct notes notes;
};

int adapt_no_memory(const struct adapt *adapt)
{
	return error_set(adapt->err, -ENOMEM, "out of memory");
}

static void adapt_done(struct adapt *adapt)
{
	for (size_t i = 0; i < adapt->n_modules; i++)
		free(adapt->modules[i].name);
	free(adapt->modules);
	for (size_t i = 0; i < adapt->n_replacements; i++)
		free(adapt->replacements[i].name);
	free(adapt->replacements);
	for (size_t i = 0; adapt->entries && i < adapt->source->n_tensors; i++)
		free(adapt->entries[i].patches);
	free(adapt->entries);
	spellings_done(&adapt->spellings);
	free(adapt->layers);
	free(adapt->tied_head);
	source_close(adapt->source);
}

const struct tensor *adapt_tensor(const struct adapt *adapt,
				  const struct adapt_entry *entry)
{
	return &adapt->source->tensors[entry - adapt->entries];
}

struct adapt_entry *adapt_find_spelled(const struct adapt *adapt,
				       const char *name)
{
	const struct tensor *tensor = source_find(adapt->source, name);
	if (!tensor) {
		AUTO_FREE char *canonical = arch_canonical(name);
		const char *other =
			canonical ? spellings_find(&adapt->spellings, canonical)
				  : NULL;
		tensor = other ? source_find(adapt->source, other) : NULL;
	}
	return tensor ? &adapt->entries[tensor - adapt->source->tensors] : NULL;
}

struct adapt_entry *adapt_find(const struct adapt *adapt, const char *name)
{
	struct adapt_entry *entry = adapt_find_spelled(adapt, name);

	return entry ? entry : adapt_find_gate(adapt, name);
}

/* Expressions. */

/* Takes ownership of the node. */
static int set_node(struct adapt *adapt, struct adapt_entry *entry,
		    struct node *node)
{
	return node_set_add(adapt->terms.set, node, &entry->node) < 0
		       ? adapt_no_memory(adapt)
		       : 0;
}

int adapt_add(struct adapt *adapt, struct adapt_entry *entry,
	      const struct lora_patch *patch)
{
	struct lora_patch *patches = reallocarray(
		entry->patches, entry->n_patches + 1, sizeof(*patches));
	if (!patches)
		return adapt_no_memory(adapt);
	entry->patches = patches;
	patches[entry->n_patches++] = *patch;
	return 0;
}

int adapt_flush(struct adapt *adapt, struct adapt_entry *entry,
		struct factor *lengths, bool by_column)
{
	struct lora_terms terms = {
		.input = entry->node,
		.dtype = entry->node->dtype,
		.patches = entry->patches,
		.n_patches = entry->n_patches,
		.rounds_twice = entry->rounds_twice,
		.lengths = lengths,
		.by_column = by_column,
		.adapter = adapt->terms.adapter->label,
	};
	struct node *node = NULL;
	if (entry->n_patches == 0)
		return 0;
	if (!entry->node->dtype->mergeable)
		return error_set(
			adapt->err, -EINVAL,
			"%s: %s is %s in %s, to which nothing can be "
			"added",
			adapt->config->path, adapt_tensor(adapt, entry)->name,
			entry->node->dtype->name, adapt->terms.base->label);

	int r = node_lora(&terms, &node);
	free(TAKE(entry->patches));
	entry->n_patches = 0;
	entry->rounds_twice = false;
	return r < 0 ? adapt_no_memory(adapt) : set_node(adapt, entry, node);
}

int adapt_round(struct adapt *adapt, struct node *input,
		const struct dtype *dtype, struct adapt_entry *entry)
{
	struct lora_terms terms = {.input = input, .dtype = dtype};
	struct node *node = NULL;

	entry->node = input;
	if (!dtype || input->dtype == dtype || !input->dtype->mergeable)
		return 0;
	return node_lora(&terms, &node) < 0 ? adapt_no_memory(adapt)
					    : set_node(adapt, entry, node);
}

/* Replacements. */

static bool may_take_place(const struct tensor *old, const struct tensor *new)
{
	struct shape shape = old->shape;
	if (shape_equal(&old->shape, &new->shape))
		return true;
	if (!arch_is_embedding(old->name) && !arch_is_head(old->name))
		return false;

	/* A vocabulary of another size. */
	if (shape.rank != new->shape.rank || shape.rank == 0)
		return false;
	shape.dims[0] = new->shape.dims[0];
	return shape_equal(&shape, &new->shape);
}

static int replace(struct adapt *adapt, const struct adapt_replacement *item,
		   struct adapt_entry *entry)
{
	struct tensor *old = &adapt->source->tensors[entry - adapt->entries];
	const struct tensor *new = item->tensor;
	struct node *node = NULL;
	char a[192], b[192];

	if (!may_take_place(old, new))
		return error_set(
			adapt->err, -EINVAL, "%s: %s is %s, but %s is %s in %s",
			adapt->config->path, new->name,
			shape_format(&new->shape, a), old->name,
			shape_format(&old->shape, b), adapt->terms.base->label);
	if (node_set_stored(adapt->terms.set, new, &node) < 0)
		return adapt_no_memory(adapt);
	old->shape = new->shape;
	old->count = new->count;
	return adapt_round(adapt, node, entry->node->dtype, entry);
}

static int replace_all(struct adapt *adapt)
{
	for (size_t i = 0; i < adapt->n_replacements; i++) {
		struct adapt_replacement *item = &adapt->replacements[i];
		struct adapt_entry *entry = adapt_find(adapt, item->name);
		bool head = arch_is_head(item->name) && adapt->base_ties;
		if (!entry && head)
			for (size_t j = 0; j < adapt->source->n_tensors; j++)
				if (arch_is_embedding(
					    adapt->source->tensors[j].name))
					entry = &adapt->entries[j];
		item->used = entry != NULL;
		if (!entry || item->ignored)
			continue;
		int r = replace(adapt, item, entry);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Rows of embedding and head, where there are both, are one vocabulary. */
static int find_vocabulary(const struct adapt *adapt, uint64_t *ret)
{
	const struct tensor *first = NULL;
	char a[192], b[192];
	bool resized = false;

	*ret = 0;
	for (size_t i = 0; i < adapt->source->n_tensors; i++) {
		const struct tensor *tensor = &adapt->source->tensors[i];
		if (!arch_is_embedding(tensor->name) &&
		    !arch_is_head(tensor->name))
			continue;
		const struct tensor *old =
			source_find(adapt->terms.base, tensor->name);
		resized = resized ||
			  (old && !shape_equal(&old->shape, &tensor->shape));
		if (!first)
			first = tensor;
		if (first->shape.dims[0] != tensor->shape.dims[0] && resized)
			return error_set(
				adapt->err, -EINVAL,
				"%s: with this adapter %s is %s and %s "
				"%s; both must be resized",
				adapt->config->path, first->name,
				shape_format(&first->shape, a), tensor->name,
				shape_format(&tensor->shape, b));
	}
	if (resized)
		*ret = first->shape.dims[0];
	return 0;
}

/* config.json, by the same edits as a merge's. */
static int make_config(struct adapt *adapt, const struct arch *arch,
		       struct adapted *adapted)
{
	struct source *source = adapt->source;
	struct plan plan = {
		.donor = adapt->terms.base,
		.dtype = adapt->terms.dtype,
		.tied = adapt->tied_head ? 0 : -1,
	};
	int r = find_vocabulary(adapt, &plan.vocab_size);
	if (r < 0)
		return r;

	struct layer_count depth = {.n_layers = adapt->n_layers};
	AUTO_FREE struct layer_origin *layers =
		calloc(adapt->n_layers + 1, sizeof(*layers));
	if (!layers)
		return adapt_no_memory(adapt);
	if (arch) {
		for (uint64_t i = 0; i < adapt->n_layers; i++)
			layers[i] = (struct layer_origin){adapt->terms.base,
							  adapt->layers[i]};
		depth.layers = layers;
		depth.key = arch->modules[arch->head].count_key;
		depth.donor_layers = arch->modules[arch->head].n_layers;
		plan.depths = &depth;
		plan.n_depths = 1;
	}
	r = config_text(&plan, &source->config_text, adapt->err);
	adapted->notes = plan.notes;
	if (r < 0)
		return r;
	return json_parse(source->config_text, strlen(source->config_text),
			  source->label, &source->config, adapt->err);
}

/* Called as a recipe calls it. */
static int make_source(struct adapt *adapt)
{
	const struct source *base = adapt->terms.base;
	const struct source *adapter = adapt->terms.adapter;
	struct source *source = calloc(1, sizeof(*source));
	if (!source)
		return adapt_no_memory(adapt);

	adapt->source = source;
	source->donor = base;
	source->overlay = adapter;
	if (asprintf(&source->label, "%s+%s", base->label, adapter->label) <
	    0) {
		source->label = NULL;
		return adapt_no_memory(adapt);
	}
	source->directory = strdup(source->label);
	return source->directory ? 0 : adapt_no_memory(adapt);
}

static bool any_target(const struct adapt *adapt)
{
	bool any = false;

	for (size_t i = 0; i < adapt->n_modules; i++) {
		const struct adapt_module *module = &adapt->modules[i];
		if (!module->a || module->depth > 0)
			continue;
		if (adapter_targets(adapt->config, module->name))
			return true;
		any = true;
	}
	const cJSON *parameters =
		json_at(adapt->config->config, "target_parameters");
	return !any || cJSON_GetArraySize(parameters) > 0;
}

static int apply(struct adapt *adapt, struct adapted *adapted)
{
	AUTO(arch) arch = NULL;
	int r = make_source(adapt);

	if (r == 0)
		r = adapt_find_layers(adapt, &arch);
	if (r == 0)
		r = adapt_read_keys(adapt);
	if (r == 0 && !any_target(adapt))
		r = error_set(
			adapt->err, -EINVAL,
			"%s: target_modules name none of the modules that "
			"the adapter has matrices for",
			adapt->config->path);
	if (r == 0)
		r = adapt_make_table(adapt, arch);
	if (r == 0)
		r = replace_all(adapt);
	/* Backwards: a head that is the embedding's matrix is the first by
	 * name, and adapted after it, as PEFT does. */
	for (size_t i = adapt->n_modules; r == 0 && i-- > 0;)
		r = adapt_module(adapt, &adapt->modules[i]);
	for (size_t i = 0; r == 0 && i < adapt->source->n_tensors; i++)
		r = adapt_flush(adapt, &adapt->entries[i], NULL, false);
	if (r == 0)
		r = adapt_check_keys(adapt);
	return r < 0 ? r : make_config(adapt, arch, adapted);
}

static int hand_over(struct adapt *adapt, struct adapted *adapted)
{
	struct source *source = adapt->source;

	adapted->nodes = calloc(source->n_tensors + 1, sizeof(struct node *));
	if (!adapted->nodes)
		return adapt_no_memory(adapt);
	for (size_t i = 0; i < source->n_tensors; i++) {
		struct tensor *tensor = &source->tensors[i];
		adapted->nodes[i] = adapt->entries[i].node;
		tensor->dtype = adapted->nodes[i]->dtype;
		tensor->size = tensor->count * tensor->dtype->bits / 8;
	}
	free(TAKE(adapt->entries));
	adapted->source = TAKE(adapt->source);
	return 0;
}

int adapted_new(const struct adapted_terms *terms, struct adapted **ret,
		struct error *err)
{
	AUTO(adapted) adapted = calloc(1, sizeof(*adapted));
	AUTO(adapter) config = NULL;
	AUTO_FREE char *path = NULL;
	if (!adapted || asprintf(&path, "%s/adapter_config.json",
				 terms->adapter->directory) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}

	int r = adapter_new(terms->adapter->config, path, &config, err);
	if (r < 0)
		return r;
	struct adapt adapt = {.terms = *terms, .config = config, .err = err};
	adapted->terms = *terms;
	adapted->terms.nodes = NULL;
	r = apply(&adapt, adapted);
	if (r == 0)
		r = hand_over(&adapt, adapted);
	adapt_done(&adapt);
	if (r < 0)
		return r;
	*ret = TAKE(adapted);
	return 0;
}

void adapted_free(struct adapted *adapted)
{
	if (!adapted)
		return;
	source_close(adapted->source);
	free(adapted->nodes);
	notes_done(&adapted->notes);
	free(adapted);
}

const struct source *adapted_source(const struct adapted *adapted)
{
	return adapted->source;
}

struct node *adapted_node(const struct adapted *adapted, size_t i)
{
	return adapted->nodes[i];
}

const struct adapted_terms *adapted_terms(const struct adapted *adapted)
{
	return &adapted->terms;
}

const struct notes *adapted_notes(const struct adapted *adapted)
{
	return &adapted->notes;
}
