/*
 * The outline of a plan: its tensors in groups that are made alike, for people.
 *
 * A group is made in one way from the same models, with the same parameters in
 * each of its layers; from layer to layer these may differ.
 */
#ifndef MERGE_ENGINE_OUTLINE_H
#define MERGE_ENGINE_OUTLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/json.h"
#include "util/macros.h"

struct dtype;
struct plan;

struct outline_group {
	/*
	 * "model.layers.N.self_attn.*", "lm_head.weight": N is any of the
	 * group's layers, .* any tensors that begin so. (n_names,) owned
	 */
	char **names;
	size_t n_names;
	/* False where the layers do not matter: all are alike. */
	bool layered;
	uint64_t first, last; /* its layers, if so */
	uint64_t n_tensors, size;
	uint64_t n_copied;	   /* tensors that are some source's bytes */
	const struct dtype *dtype; /* of the output */
	bool carried;		   /* not merged, see plan.h */
	/*
	 * describe.h's, brief. A parameter that differs between layers is a
	 * list, in the order of the layers. Owned.
	 */
	cJSON *expression;
};

struct outline {
	struct outline_group *groups; /* (n_groups,) owned */
	size_t n_groups;
};

/* 0 or -ENOMEM. */
int outline_new(const struct plan *plan, struct outline **ret);
void outline_free(struct outline *outline);
DEFINE_AUTO(outline, outline_free);

#endif
