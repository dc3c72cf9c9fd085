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
};

/* NULL if out of memory. */
cJSON *describe_node(const struct node *node, const struct describing *how);

/* The model that a stored tensor belongs to, as the recipe names it, or NULL.
 */
const char *describe_model(const struct tensor *tensor,
			   const struct describing *how);

#endif
