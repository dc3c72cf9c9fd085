/*
 * Rows of embeddings and heads, between plan_slice.c and the vocabulary: which
 * tensors have a row for each token, and the nodes that put the rows of all
 * models into one order.
 */
#ifndef MERGE_ENGINE_PLAN_ROWS_H
#define MERGE_ENGINE_PLAN_ROWS_H

#include <stddef.h>
#include <stdint.h>

struct node;
struct planner;

/* Makes the plan's vocabulary if the recipe asks for one; the models are open
 * by then. */
int plan_vocabulary(struct planner *planner);

/* The chat template that the recipe asks for. */
int plan_chat(struct planner *planner);

/*
 * Replaces the nodes that models have for `name` (as the donor spells it) by
 * ones whose rows are the output's tokens. models, nodes: (n,), of the inputs
 * of one output tensor; a node is NULL where the model lacks it. Tokens take
 * rows of these inputs only. Left alone: everything where the recipe asks for
 * no vocabulary, and tensors whose rows are not tokens.
 */
int plan_align(struct planner *planner, const char *name, const size_t *models,
	       struct node **nodes, unsigned n);

/*
 * Without a vocabulary: inputs of different row counts meet in their common
 * rows. nodes, (n,), become those of n_common rows; *tail is the donor's node
 * if it has more, else NULL. Nothing happens where all rows are equal.
 */
int plan_common_rows(struct planner *planner, const char *name,
		     struct node **nodes, size_t n, struct node **ret_tail);

/* The rows of `node`, then those of tail beyond. */
int plan_append_rows(struct planner *planner, struct node **node,
		     struct node *tail);

#endif
