#include "merge/kernels/product.h"

#include <stdbool.h>
#include <string.h>

#include "merge/kernels/fused.h"

/*
 * ROWS times PANEL sums stay in registers, as vectors of the width of a
 * register (FLOATS, from the build, as ROWS is). CONTRACTS says that the
 * compiler fuses a vector's product and sum, as gram.c relies on, too; without
 * such an instruction every lane is fused by hand. The sums are scaled and
 * added in scaled.c, where nothing may be fused.
 *
 * Columns are taken in strips whose panels stay in a core's second cache, and
 * rows run through a strip, so that values are come to in their order. Panels
 * are not cut by their depth: as long as a core's caches hold one, loading
 * its next line takes less time than multiplying it; and lines are asked for
 * early, beyond the last one, too, since a page's end stops the hardware.
 */
#define FEWER (ROWS * 2 / 3)
#define N_VECTORS (PANEL / FLOATS)
#define STRIP ((size_t)1 << 15) /* floats of panels */
#define AHEAD ((size_t)1 << 10) /* floats of panels that are fetched early */

typedef float vector __attribute__((vector_size(FLOATS * sizeof(float))));

static inline vector fuse(float x, vector y, vector sum)
{
	if (CONTRACTS)
		return sum + x * y;
	for (int i = 0; i < FLOATS; i++)
		sum[i] = fused(x, y[i], sum[i]);
	return sum;
}

/* sums (n_rows, PANEL); n_rows, at most ROWS, is a constant to every caller. */
static inline __attribute__((always_inline)) void
multiply(float *sums, const float *left, const float *panel, size_t rank,
	 int n_rows)
{
	vector sum[ROWS][N_VECTORS] = {};

	for (size_t k = 0; k < rank; k++) {
		const vector *right =
			(const vector *)(const void *)(panel + k * PANEL);
		__builtin_prefetch(panel + k * PANEL + AHEAD);
		for (int i = 0; i < n_rows; i++)
			for (int j = 0; j < N_VECTORS; j++)
				sum[i][j] = fuse(left[(size_t)i * rank + k],
						 right[j], sum[i][j]);
	}
	memcpy(sums, sum, (size_t)n_rows * sizeof(sum[0]));
}

/* Some rows of columns [at, end). */
static inline __attribute__((always_inline)) void
add_rows(float *values, const float *left, const struct product *product,
	 size_t at, size_t end, int n_rows)
{
	_Alignas(64) float sums[ROWS * PANEL];
	size_t rank = product->rank;

	while (at < end) {
		size_t first = at % PANEL;
		size_t n = PANEL - first < end - at ? PANEL - first : end - at;

		for (int i = 0; i < n_rows; i++)
			__builtin_prefetch(values + (size_t)i * product->step,
					   1);
		multiply(sums, left, product->panels + (at - first) * rank,
			 rank, n_rows);
		ISA_NAME(add_sums)
		(values, sums + first, product, (size_t)n_rows, n);
		values += n;
		at += n;
	}
}

/* How many of the rows come next. Few rows have too few sums to keep the
 * arithmetic busy, so that the last blocks are made alike. */
static size_t next_rows(size_t n_rows)
{
	if (n_rows == ROWS || n_rows >= ROWS + FEWER)
		return ROWS;
	return n_rows >= FEWER ? FEWER : 1;
}

static void add_strip(float *values, const struct product *product, size_t at,
		      size_t end)
{
	const float *left = product->left;
	size_t n;

	for (size_t n_rows = product->n_rows; n_rows > 0; n_rows -= n) {
		n = next_rows(n_rows);
		if (n == ROWS)
			add_rows(values, left, product, at, end, ROWS);
		else if (n == FEWER)
			add_rows(values, left, product, at, end, FEWER);
		else
			add_rows(values, left, product, at, end, 1);
		values += n * product->step;
		left += n * product->rank;
	}
}

void ISA_NAME(add_product)(float *values, const struct product *product)
{
	size_t end = product->first + product->n;
	size_t strip = STRIP / product->rank / PANEL * PANEL;
	if (strip == 0)
		strip = PANEL;

	for (size_t at = product->first; at < end;) {
		size_t left = strip - at % strip;
		size_t n = left < end - at ? left : end - at;

		add_strip(values + (at - product->first), product, at, at + n);
		at += n;
	}
}
