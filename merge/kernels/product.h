/*
 * Products of a tall and a wide matrix of few terms: what a low-rank adapter
 * adds to a weight.
 */
#ifndef MERGE_KERNELS_PRODUCT_H
#define MERGE_KERNELS_PRODUCT_H

#include <stddef.h>

#include "merge/kernels/isa.h"

/*
 * The right matrix lies in panels: (n_panels, rank, PANEL), the last one filled
 * up with zeros; so what some rows are multiplied with is read in one go.
 */
#define PANEL 16

struct product {
	const float *left;   /* (n_rows, rank) */
	const float *panels; /* (n_panels, rank, PANEL), aligned to 64 bytes */
	size_t rank, n_rows;
	size_t first, n; /* columns */
	float scale;
	size_t step; /* floats from a row of the values to the next */
};

/*
 * values (n_rows, n) += sum over k of left[i][k] * right[k][j], times scale.
 * The sum is made in the order of k, each step fused, and what follows is
 * rounded after each operation; so an element has the same bits in any range
 * and on every instruction set.
 */
void ISA_NAME(add_product)(float *values, const struct product *product);

/* values (n_rows, n) += sums * scale, rounded after each operation; rows of
 * sums are PANEL apart. */
void ISA_NAME(add_sums)(float *restrict values, const float *restrict sums,
			const struct product *product, size_t n_rows, size_t n);

#endif
