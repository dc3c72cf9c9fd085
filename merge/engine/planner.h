/*
 * Planning, between plan.c and its parts: a plan that is being made.
 */
#ifndef MERGE_ENGINE_PLANNER_H
#define MERGE_ENGINE_PLANNER_H

#include <stddef.h>
#include <stdint.h>

#include "merge/engine/models.h"
#include "merge/engine/plan.h"
#include "merge/recipe/recipe.h"

struct claim; /* an output name that is taken */

struct planner {
	struct plan *plan;
	const struct recipe *recipe;
	const struct stages *stages; /* that its models may be */
	const struct plan_options *options;
	struct models models;
	struct claim *claims;	       /* hash table by name; owned */
	const struct dtype *out_dtype; /* that the recipe asks for, or NULL */
	struct error *err;
};

struct slice_input {
	size_t model;	/* place in models */
	int source;	/* place in the recipe's slice; -1: the appended base */
	uint64_t first; /* its first layer */
};

/* A run of output layers, or all that a module has. */
struct slice_plan {
	const struct recipe_module *module;
	const struct recipe_slice *slice;
	size_t arch_module;
	struct slice_input *inputs; /* (n_inputs,) owned */
	unsigned n_inputs;
	int base; /* place among the inputs, or -1 */
	uint64_t n_layers;
	uint64_t out_first;	/* number of its first layer in the output */
	bool is_first, is_last; /* has the loose tensors before, after */
	uint64_t out_layers;	/* of the whole module, for layers beyond */
};

void planner_done(struct planner *planner);

/*
 * Plans one document; stages it stands on are planned already. The plan has no
 * stages of its own.
 */
int plan_document(const struct recipe_file *recipe_file,
		  const struct recipe *recipe, const struct stages *stages,
		  struct shelf *shelf, const struct plan_options *options,
		  struct plan **ret, struct error *err);

/* Plans every output tensor of a slice. */
int plan_slice(struct planner *planner, const struct slice_plan *slice);

/* Plans the donor's tensors of a module that the recipe leaves out. */
int plan_carried_module(struct planner *planner, size_t arch_module);

#endif
