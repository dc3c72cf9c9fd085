/*
 * Arithmetic on rows of floats that several methods share. One rounding per
 * operation; `out` aliases nothing else.
 */
#ifndef MERGE_KERNELS_ROWS_H
#define MERGE_KERNELS_ROWS_H

#include <stddef.h>

#include "merge/kernels/fused.h"

/* out = x * w + start, fused; start is a row or NULL: zeros. */
static inline void row_fused(float *restrict out, const float *restrict start,
			     const float *restrict x, float w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = fused(x[i], w, start ? start[i] : 0);
}

/* The same for x, then y, in one go over memory. */
static inline void row_fused2(float *restrict out, const float *restrict start,
			      const float *restrict x, float x_weight,
			      const float *restrict y, float y_weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float sum = fused(x[i], x_weight, start ? start[i] : 0);

		out[i] = fused(y[i], y_weight, sum);
	}
}

/* The same beginning with what is in out. */
static inline void row_add_fused(float *restrict out, const float *restrict x,
				 float w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = fused(x[i], w, out[i]);
}

static inline void row_add_fused2(float *restrict out, const float *restrict x,
				  float x_weight, const float *restrict y,
				  float y_weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float sum = fused(x[i], x_weight, out[i]);

		out[i] = fused(y[i], y_weight, sum);
	}
}

/* out = start + sum weights[i] * x[i] over k rows, in their order; at least
 * one. */
static inline void row_combine(float *restrict out, const float *restrict start,
			       float *const *x, const double *weights,
			       unsigned k, size_t n)
{
	unsigned i = 2;

	if (k > 1)
		row_fused2(out, start, x[0], (float)weights[0], x[1],
			   (float)weights[1], n);
	else
		row_fused(out, start, x[0], (float)weights[0], n);
	for (; i + 1 < k; i += 2)
		row_add_fused2(out, x[i], (float)weights[i], x[i + 1],
			       (float)weights[i + 1], n);
	if (i < k)
		row_add_fused(out, x[i], (float)weights[i], n);
}

/* out = x + out. */
static inline void row_add(float *restrict out, const float *restrict x,
			   size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = x[i] + out[i];
}

/* out = out - x. */
static inline void row_subtract(float *restrict out, const float *restrict x,
				size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] - x[i];
}

/* out = out * factor. */
static inline void row_multiply(float *out, float factor, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] * factor;
}

/* out = out / divisor. */
static inline void row_divide(float *out, float divisor, size_t n)
{
	if (divisor == 1)
		return;
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] / divisor;
}

#endif
