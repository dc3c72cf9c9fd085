/*
 * Nodes that apply an adapter to a tensor.
 */
#ifndef MERGE_ENGINE_NODE_LORA_H
#define MERGE_ENGINE_NODE_LORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dtype;
struct factor;
struct node;

/*
 * A rectangle of a tensor, seen as a matrix whose columns are the last
 * dimension. To it is added scale * left * right, rounded as a product of f32
 * matrices, then once for the scale. With rank 0 the rows of left take the
 * place of what is there.
 */
struct lora_patch {
	uint64_t row, n_rows;
	uint64_t column, n_columns;
	unsigned rank;
	float scale;
	struct factor *left;  /* (batch, rows, rank), or (1, rows, n_columns) */
	uint64_t left_row;    /* its first row, counted through the batch */
	struct factor *right; /* (batch, rank, n_columns) in panels; or NULL */
	uint64_t right_batch;
};

struct lora_terms {
	struct node *input;
	/* That the result is rounded to; mergeable, as the input's. */
	const struct dtype *dtype;
	const struct lora_patch *patches; /* (n_patches,) disjoint, copied */
	size_t n_patches;
	/* What is added is rounded to dtype before it is. */
	bool rounds_twice;
	/*
	 * DoRA: rows (or columns, if by_column) of the sum are scaled to these
	 * lengths, (1, n, 1); else NULL.
	 */
	struct factor *lengths;
	bool by_column;
	const char *adapter; /* for people; borrowed */
};

/* Without patches, the input rounded to dtype. 0 or -ENOMEM. */
int node_lora(const struct lora_terms *terms, struct node **ret);

#endif
