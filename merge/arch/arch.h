/*
 * Architecture by names: what a layer, a module, an embedding, a head is,
 * inferred from tensor names and config.json, without a list of models.
 *
 * A *stack* is a run of layers: names PREFIX + number + '.' + rest, where the
 * number is the first component of digits. A stack whose length config.json
 * gives is a *module*'s; a checkpoint with one such stack has the one module
 * "default", which holds every tensor; with several (encoder and decoder, text
 * and vision) each module is named by its leading component. Names outside the
 * stacks are *loose*: those of embeddings come before the layers, others after.
 *
 * Immutable; every function may be called from any thread.
 */
#ifndef MERGE_ARCH_ARCH_H
#define MERGE_ARCH_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/macros.h"

struct source;

#define ARCH_MAX_LAYERS 100000

struct arch_module {
	char *name;   /* owned */
	char *prefix; /* of its stack, "model.layers."; NULL: no layers; owned
		       */
	char *count_key;   /* dotted path in config.json, or NULL; owned */
	uint64_t n_layers; /* of the checkpoint it was inferred from */
};

struct arch {
	struct arch_module *modules; /* (n_modules,) at least one; owned */
	size_t n_modules;
	char *common; /* leading component shared by all modules, or "" */
	size_t head;  /* module of a head that stands beside the modules: the
			 one with the input embedding */
};

/* Errors: fewer layers in the checkpoint than its config.json says. */
int arch_infer(const struct source *source, struct arch **ret,
	       struct error *err);
void arch_free(struct arch *arch);
DEFINE_AUTO(arch, arch_free);

/* Module by its name in a recipe, or by the names that MergeKit gives such
 * modules (text_decoder, vision_tower ...); -1 if there is none such. */
int arch_module_find(const struct arch *arch, const char *name);

enum arch_position {
	ARCH_BEFORE, /* loose, before the layers */
	ARCH_LAYER,
	ARCH_AFTER, /* loose, after the layers; also layers beyond the count,
		       such as extra prediction layers */
};

struct arch_place {
	size_t module;
	enum arch_position position;
	uint64_t layer; /* of ARCH_LAYER */
	bool beyond;	/* ARCH_AFTER: a numbered layer beyond the count */
};

void arch_locate(const struct arch *arch, const char *name,
		 struct arch_place *ret);

/* Splits a numbered name: length of the prefix, number, and the rest behind
 * the number ("." included). False for loose names. */
bool arch_split(const char *name, size_t *ret_prefix, uint64_t *ret_layer,
		const char **ret_rest);

/* The name with its layer number replaced; malloc'ed, NULL if out of memory.
 * A loose name is copied. */
char *arch_renumber(const char *name, uint64_t layer);

/* The name as a template, for people: "model.layers.N.mlp.up_proj.weight". */
char *arch_template(const char *name);

/*
 * Layers that another checkpoint of the same architecture has in a module: what
 * its config.json says, else what its names say.
 */
uint64_t arch_layers(const struct arch_module *module,
		     const struct source *source);

/* The end of name behind the prefixes that only some spellings have. */
const char *arch_unwrapped(const char *name);

/*
 * One spelling for the several in which a tensor's name is found on disk:
 * leading "model.", "transformer.", "bert." ..., "language_model.model." and
 * the older LayerNorm.gamma. malloc'ed, NULL if out of memory.
 */
char *arch_canonical(const char *name);

/* Is this the input embedding, or the output head, of a vocabulary? */
bool arch_is_embedding(const char *name);
bool arch_is_head(const char *name);

/* Has the tensor a row for each token: an embedding, a head, its bias, or that
 * of an extra prediction layer? */
bool arch_has_tokens(const char *name);

#endif
