/*
 * Gram matrices: all dot products of a few rows, in f64.
 *
 * Products of floats are exact as doubles. They are summed in 16 lanes by
 * place in the row, and the lanes in a fixed tree, so that the sum does not
 * depend on the instruction set.
 *
 * A matrix is (gram_count(k),): the upper triangle, row by row.
 */
#ifndef MERGE_KERNELS_GRAM_H
#define MERGE_KERNELS_GRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "merge/kernels/isa.h"

#define gram_add_lanes ISA_NAME(gram_add_lanes)
#define gram_fold ISA_NAME(gram_fold)
#define gram_add ISA_NAME(gram_add)

static inline size_t gram_count(unsigned k)
{
	return (size_t)k * (k + 1) / 2;
}

/* Place of the dot product of rows i <= j of k. */
static inline size_t gram_index(unsigned k, unsigned i, unsigned j)
{
	return (size_t)i * (2 * (size_t)k - i - 1) / 2 + j;
}

/* A dot product that is still in its lanes: over many tiles they are folded
 * once, in the end. */
#define GRAM_LANES 16

struct gram_lanes {
	double lane[GRAM_LANES];
};

/* Rows of n elements, of floats or all of halves; base: a row that is
 * subtracted from each, or NULL. */
struct gram_rows {
	float *const *in;
	const float *base;
	bool halves;
	size_t n;
};

/* Adds the dot products of rows in[0] to in[k - 1]; lanes: (gram_count(k),). */
void gram_add_lanes(struct gram_lanes *lanes, const struct gram_rows *rows,
		    unsigned k);
double gram_fold(const struct gram_lanes *lanes);

/* The same, folded. */
void gram_add(double *gram, const struct gram_rows *rows, unsigned k);

#endif
