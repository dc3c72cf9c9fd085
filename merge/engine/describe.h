/*
 * Expressions for people and programs: what an output tensor is made of, as a
 * tree of JSON objects, one for each node:
 *
 *   {"node": "merge", "method": "slerp", ..., "inputs": [
 *      {"base": true, "expression": {"node": "stored", "model": "a"}},
 *      {"parameters": {...}, "expression": ...}]}
 *
 * Every type of node says what it knows of itself by its hook describe. What it
 * leaves out is a node with a name and inputs.
 *
 * Every function may be called from any thread.
 */
#ifndef MERGE_ENGINE_DESCRIBE_H
#define MERGE_ENGINE_DESCRIBE_H

#include <stdbool.h>

#include "util/json.h"

struct node;
struct output_tensor;
struct plan;
struct tensor;

struct describing {
	const struct plan *plan; /* whose sources the models are */
	const struct output_tensor *tensor;
	/*
	 * Only what the same tensor of other layers may have in common with
	 * this one: no names, places and facts. Values that may differ stand in
	 * objects "parameters".
	 */
	bool brief;
	/* How many tensors of stages may still be told in full, which their
	 * descriptions count down; NULL: none. */
	unsigned *n_stages;
};

/* NULL if out of memory. */
cJSON *describe_node(const struct node *node, const struct describing *how);

/* Appends an input's row to the list of a node. False if out of memory. */
bool describe_input(cJSON *list, const struct node *input,
		    const struct describing *how);

/* Which layer a tensor of that name comes from for output layer N, if from
 * another: "N-8". False if out of memory. */
bool describe_layer(const char *name, const struct describing *how, cJSON *row);

/* The model that a stored tensor belongs to, as the recipe names it, or NULL.
 */
const char *describe_model(const struct tensor *tensor,
			   const struct describing *how);

#endif
