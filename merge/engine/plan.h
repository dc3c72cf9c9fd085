/*
 * From a recipe to one expression per output tensor.
 *
 * Everything that can be judged from the recipe, headers and config.json is
 * judged here, without reading tensor data.
 *
 * Immutable after plan_new(); every function may be called from any thread.
 */
#ifndef MERGE_ENGINE_PLAN_H
#define MERGE_ENGINE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/tensor/dtype.h"
#include "merge/tensor/shape.h"
#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct node;
struct recipe;
struct recipe_file;
struct shelf;
struct source;
struct stages;
struct tensor;
struct vocabulary;

struct output_tensor {
	char *name; /* owned */
	const struct dtype *dtype;
	struct shape shape;
	uint64_t size;		   /* bytes */
	struct node *node;	   /* borrowed from the shelf */
	const struct tensor *copy; /* its bytes are this tensor's, or NULL */
	struct digest digest;	   /* of node and dtype */
	const char *how; /* a method's name, tensor_copied or tensor_carried */
	size_t place;	 /* among the output tensors of the shelf */
};

/* For people: bytes of a source as they are; taken from one model because it
 * could not be merged. */
extern const char *const tensor_copied, *const tensor_carried;

/* An output layer comes from this layer of that source. */
struct layer_origin {
	const struct source *source;
	uint64_t layer;
};

/* A number in config.json that counts the layers of a module. */
struct layer_count {
	char *key; /* dotted path in config.json, or NULL; owned */
	struct layer_origin *layers; /* (n_layers,) of the output; owned */
	uint64_t n_layers;
	uint64_t donor_layers; /* what the donor's config.json says */
};

struct plan {
	const struct recipe *recipe;	       /* borrowed: the result's */
	const struct recipe_file *recipe_file; /* borrowed */
	struct shelf *shelf;		       /* borrowed */
	struct stages *stages;	       /* owned; NULL for a plan of a stage */
	const struct source **sources; /* (n_sources,) on disk, of all stages:
					  document order, base first */
	size_t n_sources;
	/* Of config.json and companion files; a stage's, perhaps */
	const struct source *donor;
	struct output_tensor
		*tensors; /* (n_tensors,) by text_compare_natural */
	size_t n_tensors;
	struct layer_count *depths; /* (n_depths,) modules given by slices */
	size_t n_depths;
	const struct dtype *dtype; /* that the recipe asks for, or NULL */
	/* That the recipe wants the donor to be (override_architecture), or
	 * NULL; borrowed */
	const char *architecture;
	uint64_t vocab_size; /* of config.json; 0: as the donor says */
	int tied; /* tie_word_embeddings: -1 as the donor says, 0, 1 */
	struct vocabulary *vocabulary; /* NULL: the donor's; owned */
	char *chat_template;	       /* NULL: the donor's; owned */
	char *chat_origin;	       /* in words, where it is from; owned */
	struct notes notes;	       /* what a person should know */
};

struct plan_options {
	bool allow_crimes; /* mix architectures */
	bool offline;	   /* never use the network */
	bool fuse;	   /* keep float32 between stages */
	uint64_t seed;	   /* of the random methods */
	/* That bases of adapters are rounded to, and results with them; NULL:
	 * each tensor keeps its own */
	const struct dtype *lora_dtype;
};

/*
 * Of the recipe's result: its one document, or, if there are several, the one
 * without a name, else the last; the others are stages, see stages.h.
 * recipe_file and shelf must outlive the plan.
 */
int plan_new(const struct recipe_file *recipe_file, struct shelf *shelf,
	     const struct plan_options *options, struct plan **ret,
	     struct error *err);
void plan_free(struct plan *plan);
DEFINE_AUTO(plan, plan_free);

#endif
