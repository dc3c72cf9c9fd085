#include "merge/kernels/product.h"

#include <stdbool.h>
#include <string.h>

#include "merge/kernels/fused.h"

/*
 * A block of ROWS times PANEL sums stays in registers, as vectors of the width
 * of a register (FLOATS, from the build). CONTRACTS says that the compiler
 * fuses a vector's product and sum, as gram.c relies on, too; without such an
 * instruction every lane is fused by hand.
 */
#define ROWS 6
#define DEPTH 256 /* terms of a panel that fit into the nearest cache */
#define N_VECTORS (PANEL / FLOATS)

typedef float vector __attribute__((vector_size(FLOATS * sizeof(float))));

static inline vector fuse(float x, vector y, vector sum)
{
	if (CONTRACTS)
		return sum + x * y;
	for (int i = 0; i < FLOATS; i++)
		sum[i] = fused(x, y[i], sum[i]);
	return sum;
}

/* What the rows of a panel are multiplied with at once: terms [first, end). */
struct terms {
	const float *panel; /* (rank, PANEL) */
	size_t rank, first, end;
};

/* Adds to sums (n_rows, PANEL); n_rows, at most ROWS, is a constant to every
 * caller. */
static inline __attribute__((always_inline)) void
multiply_block(float *sums, const float *left, const struct terms *terms,
	       int n_rows)
{
	size_t rank = terms->rank;
	vector sum[ROWS][N_VECTORS];

	memcpy(sum, sums, (size_t)n_rows * sizeof(sum[0]));
	for (size_t k = terms->first; k < terms->end; k++) {
		const vector *right =
			(const vector *)(const void *)(terms->panel +
						       k * PANEL);
		for (int i = 0; i < n_rows; i++)
			for (int j = 0; j < N_VECTORS; j++)
				sum[i][j] = fuse(left[(size_t)i * rank + k],
						 right[j], sum[i][j]);
	}
	memcpy(sums, sum, (size_t)n_rows * sizeof(sum[0]));
}

/* Most panels are whole, and a copy of known size is a few moves. */
static inline void copy_row(float *out, const float *in, size_t n)
{
	if (n == PANEL)
		memcpy(out, in, PANEL * sizeof(*out));
	else
		memcpy(out, in, n * sizeof(*out));
}

static inline __attribute__((always_inline)) void
multiply_rows(float *out, size_t step, size_t first, size_t n,
	      const float *left, const struct terms *terms, int n_rows)
{
	float sums[ROWS * PANEL] = {};

	for (int i = 0; terms->first > 0 && i < n_rows; i++)
		copy_row(sums + i * PANEL + first, out + (size_t)i * step, n);
	multiply_block(sums, left, terms, n_rows);
	for (int i = 0; i < n_rows; i++)
		copy_row(out + (size_t)i * step, sums + i * PANEL + first, n);
}

/* All rows of one panel's columns [first, first + n), into rows of `step`. */
static void multiply_panel(float *out, size_t step, size_t first, size_t n,
			   const float *left, size_t n_rows,
			   const struct terms *terms)
{
	for (; n_rows >= ROWS; n_rows -= ROWS) {
		multiply_rows(out, step, first, n, left, terms, ROWS);
		out += ROWS * step;
		left += ROWS * terms->rank;
	}
	switch (n_rows) {
	case 5:
		multiply_rows(out, step, first, n, left, terms, 5);
		break;
	case 4:
		multiply_rows(out, step, first, n, left, terms, 4);
		break;
	case 3:
		multiply_rows(out, step, first, n, left, terms, 3);
		break;
	case 2:
		multiply_rows(out, step, first, n, left, terms, 2);
		break;
	case 1:
		multiply_rows(out, step, first, n, left, terms, 1);
		break;
	}
}

void ISA_NAME(product)(float *out, const struct product *product)
{
	size_t end = product->first + product->n;
	size_t rank = product->rank;

	for (size_t at = product->first; at < end;) {
		size_t first = at % PANEL;
		size_t n = PANEL - first < end - at ? PANEL - first : end - at;
		struct terms terms = {
			.panel = product->panels + at / PANEL * PANEL * rank,
			.rank = rank,
		};
		for (; terms.first < rank; terms.first = terms.end) {
			terms.end = rank - terms.first < DEPTH
					    ? rank
					    : terms.first + DEPTH;
			multiply_panel(out + (at - product->first), product->n,
				       first, n, product->left, product->n_rows,
				       &terms);
		}
		at += n;
	}
}
