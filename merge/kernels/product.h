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
 * up with zeros; so a panel stays in a core's nearest cache while every row of
 * the left one is multiplied with it.
 */
#define PANEL 16

struct product {
	const float *left;   /* (n_rows, rank) */
	const float *panels; /* (n_panels, rank, PANEL), aligned to 64 bytes */
	size_t rank, n_rows;
	size_t first, n; /* columns */
};

/*
 * out (n_rows, n): the sum over k of left[i][k] * right[k][j], in the order of
 * k, each step fused; so an element has the same bits in any range and on every
 * instruction set.
 */
void ISA_NAME(product)(float *out, const struct product *product);

/* out = out + x * scale, rounded after each operation. */
void ISA_NAME(add_scaled)(float *restrict out, const float *restrict x,
			  float scale, size_t n);

#endif
