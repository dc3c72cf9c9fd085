/*
 * Between adapted.c and its parts: a model with an adapter that is being made.
 */
#ifndef MERGE_ENGINE_ADAPT_H
#define MERGE_ENGINE_ADAPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/engine/adapted.h"
#include "merge/engine/node_lora.h"
#include "merge/engine/spelling.h"

struct adapter;
struct arch;
struct factor;
struct factor_view;
struct tensor;

/* What the adapter has for one module, or one parameter of it. */
struct adapt_module {
	char *name;	/* of the model, "model.layers.0.mlp.up_proj"; owned */
	unsigned depth; /* wrappers around it, of several parameters */
	bool embedding; /* lora_embedding_A and _B */
	const struct tensor *a, *b; /* (r, in), (out, r) */
	const struct tensor *bias, *lengths, *tokens;
	bool used;
};

/* A tensor that takes the place of one of the base's. */
struct adapt_replacement {
	char *name; /* of the model, "lm_head.weight"; owned */
	const struct tensor *tensor;
	bool ignored; /* a spare copy, of no use to a merged model */
	bool used;
};

/* A tensor of the result on its way. */
struct adapt_entry {
	struct node *node;
	struct lora_patch *patches; /* (n_patches,) still to be applied; owned
				     */
	size_t n_patches;
	bool rounds_twice;
};

struct adapt {
	struct adapted_terms terms;
	const struct adapter *config;
	struct source *source;	      /* the result; by name */
	struct adapt_entry *entries;  /* (source->n_tensors,) owned */
	struct spellings spellings;   /* of source */
	struct adapt_module *modules; /* (n_modules,) by name, depth; owned */
	size_t n_modules;
	struct adapt_replacement *replacements; /* (n_replacements,) owned */
	size_t n_replacements;
	uint64_t *layers; /* (n_layers,) base layer of each; NULL: as they are;
			     owned */
	uint64_t n_layers;
	char *tied_head; /* a head to be added to a tied base; NULL; owned */
	int turned; /* are weights (in, out), as GPT-2's? 1, -1, 0: not known
		     * yet
		     */
	bool base_ties; /* one matrix is embedding and head of the base */
	struct error *err;
};

/* Sorts the adapter's tensors into modules and replacements. */
int adapt_read_keys(struct adapt *adapt);

/* The layers of layer_replication, if any; *ret is the base's architecture
 * then, else NULL. */
int adapt_find_layers(struct adapt *adapt, struct arch **ret);

/* Makes source and entries: the base's tensors, copies of layers, a head. arch
 * may be NULL. */
int adapt_make_table(struct adapt *adapt, const struct arch *arch);

/* entry->node becomes the node rounded to dtype, or itself if it is of that. */
int adapt_round(struct adapt *adapt, struct node *input,
		const struct dtype *dtype, struct adapt_entry *entry);

/* Refuses the adapter if some of its keys were of no use. */
int adapt_check_keys(const struct adapt *adapt);

/* Applies what the adapter has for a module; module->used says whether there
 * was a tensor for it. */
int adapt_module(struct adapt *adapt, struct adapt_module *module);

/* Onto one matrix of the result. */
int adapt_matrix(struct adapt *adapt, const struct adapt_module *module,
		 struct adapt_entry *entry);

/* The same where the weight is one of an expert's, or of all experts'. */
int adapt_experts(struct adapt *adapt, struct adapt_module *module);

/* Is this a module of one expert: "....experts.3.w1"? */
bool adapt_is_expert(const char *name);

/* Left and right of a matrix (out, in), or, transposed, (in, out). */
int adapt_factors(struct adapt *adapt, const struct adapt_module *module,
		  bool transposed, struct lora_patch *patch);
int adapt_factor(struct adapt *adapt, const struct factor_view *view,
		 struct factor **ret);

/* By name or canonical spelling; NULL if the result has no such tensor. The
 * gate of experts is found whatever the block is called that it is in. */
struct adapt_entry *adapt_find(const struct adapt *adapt, const char *name);
struct adapt_entry *adapt_find_spelled(const struct adapt *adapt,
				       const char *name);
struct adapt_entry *adapt_find_gate(const struct adapt *adapt,
				    const char *name);
const struct tensor *adapt_tensor(const struct adapt *adapt,
				  const struct adapt_entry *entry);

/* Adds a patch to those of an entry, or applies those of it. */
int adapt_add(struct adapt *adapt, struct adapt_entry *entry,
	      const struct lora_patch *patch);
int adapt_flush(struct adapt *adapt, struct adapt_entry *entry,
		struct factor *lengths, bool by_column);

/* Is the rank of the stored matrices, n_experts together, the configured? */
int adapt_check_rank(const struct adapt *adapt,
		     const struct adapt_module *module, const char *name,
		     uint64_t n_experts, uint64_t *ret);

int adapt_no_memory(const struct adapt *adapt);

/* For a delta of a shape that the weight does not have. */
int adapt_wrong_shape(const struct adapt *adapt,
		      const struct adapt_module *module,
		      const struct tensor *weight);

#endif
