/* The tensors that a model with an adapter has, before any change. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/engine/adapt.h"
#include "merge/source/adapter.h"
#include "merge/source/source.h"
#include "util/json.h"

int adapt_find_layers(struct adapt *adapt, struct arch **ret)
{
	const struct adapter *config = adapt->config;
	const struct source *base = adapt->terms.base;
	uint64_t n = 0;
	if (config->n_runs == 0)
		return 0;

	AUTO(arch) arch = NULL;
	int r = arch_infer(base, &arch, adapt->err);
	if (r < 0)
		return r;
	const struct arch_module *module = &arch->modules[arch->head];
	for (size_t i = 0; i < config->n_runs; i++) {
		const struct adapter_run *run = &config->runs[i];
		if (!module->prefix || run->end > module->n_layers)
			return error_set(adapt->err, -EINVAL,
					 "%s: layer_replication [%" PRIu64
					 ", %" PRIu64 "] is outside %s, which "
					 "has %" PRIu64 " layers",
					 config->path, run->first, run->end,
					 base->label, module->n_layers);
		n += run->end - run->first;
		if (n > ARCH_MAX_LAYERS)
			return error_set(adapt->err, -EINVAL,
					 "%s: layer_replication: more than %d "
					 "layers",
					 config->path, ARCH_MAX_LAYERS);
	}
	adapt->layers = calloc(n, sizeof(*adapt->layers));
	if (!adapt->layers)
		return adapt_no_memory(adapt);
	for (size_t i = 0; i < config->n_runs; i++)
		for (uint64_t l = config->runs[i].first;
		     l < config->runs[i].end; l++)
			adapt->layers[adapt->n_layers++] = l;
	*ret = TAKE(arch);
	return 0;
}

/* Rows of the table that is being made: a tensor of the result, its node. */
struct row {
	struct tensor tensor;
	struct node *node;
};

struct table {
	struct row *items; /* (n,) */
	size_t n, room;
};

static int add_row(struct adapt *adapt, struct table *table, char *name,
		   const struct tensor *tensor, struct node *node)
{
	if (table->n == table->room) {
		size_t room = table->room ? 2 * table->room : 256;
		struct row *items =
			reallocarray(table->items, room, sizeof(*items));
		if (!items) {
			free(name);
			return adapt_no_memory(adapt);
		}
		table->items = items;
		table->room = room;
	}
	if (!name)
		return adapt_no_memory(adapt);
	table->items[table->n++] = (struct row){
		.tensor = {.name = name,
			   .dtype = tensor->dtype,
			   .shape = tensor->shape,
			   .count = tensor->count},
		.node = node,
	};
	return 0;
}

/* One of the base's tensors, or a copy for each layer that is made of its. */
static int add_base(struct adapt *adapt, struct table *table,
		    const struct arch *arch, size_t i)
{
	const struct tensor *tensor = &adapt->terms.base->tensors[i];
	struct node *node = adapt->terms.nodes[i];
	struct arch_place place = {0};
	if (arch)
		arch_locate(arch, tensor->name, &place);
	if (!arch || place.position != ARCH_LAYER || place.module != arch->head)
		return add_row(adapt, table, strdup(tensor->name), tensor,
			       node);

	for (uint64_t l = 0; l < adapt->n_layers; l++) {
		if (adapt->layers[l] != place.layer)
			continue;
		int r = add_row(adapt, table, arch_renumber(tensor->name, l),
				tensor, node);
		if (r < 0)
			return r;
	}
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	return strcmp(x->tensor.name, y->tensor.name);
}

static int take_table(struct adapt *adapt, const struct table *table)
{
	struct source *source = adapt->source;

	source->tensors = calloc(table->n + 1, sizeof(*source->tensors));
	adapt->entries = calloc(table->n + 1, sizeof(*adapt->entries));
	if (!source->tensors || !adapt->entries)
		return adapt_no_memory(adapt);
	qsort(table->items, table->n, sizeof(*table->items), compare_rows);
	for (size_t i = 0; i < table->n; i++) {
		struct adapt_entry *entry = &adapt->entries[i];
		source->tensors[source->n_tensors++] = table->items[i].tensor;
		table->items[i].tensor.name = NULL;
		int r = adapt_round(adapt, table->items[i].node,
				    adapt->terms.dtype, entry);
		if (r < 0)
			return r;
	}
	return spellings_init(&adapt->spellings, source) < 0
		       ? adapt_no_memory(adapt)
		       : 0;
}

/* The base's embedding, which is its head, too, where it has none. */
static int find_embedding(const struct source *base)
{
	int found = -1;

	for (size_t i = 0; i < base->n_tensors; i++) {
		if (arch_is_head(base->tensors[i].name))
			return -1;
		if (found < 0 && arch_is_embedding(base->tensors[i].name))
			found = (int)i;
	}
	const cJSON *tie = json_at(base->config, "tie_word_embeddings");
	if (!tie)
		tie = json_at(base->config, "text_config.tie_word_embeddings");
	return cJSON_IsFalse(tie) ? -1 : found;
}

/* A saved embedding parts from the head, a saved head from the embedding. */
static int find_head(struct adapt *adapt, const char *embedding)
{
	static const char deep[] = "language_model.";
	const char *name = NULL;

	adapt->base_ties = true;
	if (adapt->config->ties)
		return 0;
	for (size_t i = 0; i < adapt->n_replacements; i++) {
		const struct adapt_replacement *item = &adapt->replacements[i];
		bool wrapped = strstr(item->tensor->name, ".base_layer.");
		if (item->ignored || wrapped)
			continue;
		if (arch_is_head(item->name))
			name = item->name;
		else if (!name && arch_is_embedding(item->name))
			name = "lm_head.weight";
	}
	if (!name)
		return 0;
	bool is_deep = strncmp(embedding, deep, sizeof(deep) - 1) == 0 &&
		       strncmp(name, deep, sizeof(deep) - 1) != 0;
	if (asprintf(&adapt->tied_head, "%s%s", is_deep ? deep : "", name) <
	    0) {
		adapt->tied_head = NULL;
		return adapt_no_memory(adapt);
	}
	return 0;
}

static int fill_table(struct adapt *adapt, const struct arch *arch,
		      struct table *table)
{
	const struct source *base = adapt->terms.base;
	int embedding = find_embedding(base), r = 0;

	for (size_t i = 0; r == 0 && i < base->n_tensors; i++)
		r = add_base(adapt, table, arch, i);
	if (r == 0 && embedding >= 0)
		r = find_head(adapt, base->tensors[embedding].name);
	if (r == 0 && adapt->tied_head)
		r = add_row(adapt, table, strdup(adapt->tied_head),
			    &base->tensors[embedding],
			    adapt->terms.nodes[embedding]);
	return r < 0 ? r : take_table(adapt, table);
}

int adapt_make_table(struct adapt *adapt, const struct arch *arch)
{
	struct table table = {0};

	int r = fill_table(adapt, arch, &table);
	for (size_t i = 0; i < table.n; i++)
		free(table.items[i].tensor.name);
	free(table.items);
	return r;
}
