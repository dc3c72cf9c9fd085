/*
 * Arithmetic on rows of floats that several methods share. One rounding per
 * operation; `out` aliases nothing else.
 */
#ifndef MERGE_KERNELS_ROWS_H
#define MERGE_KERNELS_ROWS_H

#include <stddef.h>

#include "merge/kernels/fused.h"
#include "merge/kernels/half.h"

/*
 * a where the mask is all ones, b where it is 0. Of choices between floats some
 * compilers make paths, and go all of them for every element.
 */
static inline float pick(uint32_t mask, float a, float b)
{
	return float_of(bits_of(b) ^ ((bits_of(a) ^ bits_of(b)) & mask));
}

/* out = start + (x - base) * w, fused; start is out where it goes on, else the
 * base, or 0 where that is NULL. */
EITHER_KIND void row_fused(float *restrict out, const float *restrict base,
			   const float *restrict x, float w, size_t n,
			   bool halves, bool goes_on)
{
	for (size_t i = 0; i < n; i++) {
		float start = goes_on ? out[i]
			      : base  ? row_at(base, i, halves)
				      : 0;

		out[i] = fused(row_less(x, base, i, halves), w, start);
	}
}

/* The same for x, then y, in one go over memory. */
EITHER_KIND void row_fused2(float *restrict out, const float *restrict base,
			    const float *restrict x, float x_weight,
			    const float *restrict y, float y_weight, size_t n,
			    bool halves, bool goes_on)
{
	for (size_t i = 0; i < n; i++) {
		float start = goes_on ? out[i]
			      : base  ? row_at(base, i, halves)
				      : 0;
		float sum =
			fused(row_less(x, base, i, halves), x_weight, start);

		out[i] = fused(row_less(y, base, i, halves), y_weight, sum);
	}
}

EITHER_KIND void row_combine_of(float *restrict out, const float *base,
				float *const *x, const double *weights,
				unsigned k, size_t n, bool halves)
{
	unsigned i = 2;

	if (k > 1)
		row_fused2(out, base, x[0], (float)weights[0], x[1],
			   (float)weights[1], n, halves, false);
	else
		row_fused(out, base, x[0], (float)weights[0], n, halves, false);
	for (; i + 1 < k; i += 2)
		row_fused2(out, base, x[i], (float)weights[i], x[i + 1],
			   (float)weights[i + 1], n, halves, true);
	if (i < k)
		row_fused(out, base, x[i], (float)weights[i], n, halves, true);
}

/* out = base + sum weights[i] * (x[i] - base) over k rows, in their order; at
 * least one; without base where that is NULL. */
static inline void row_combine(float *restrict out, const float *base,
			       float *const *x, const double *weights,
			       unsigned k, size_t n, bool halves)
{
	if (halves && base)
		row_combine_of(out, base, x, weights, k, n, true);
	else if (halves)
		row_combine_of(out, NULL, x, weights, k, n, true);
	else if (base)
		row_combine_of(out, base, x, weights, k, n, false);
	else
		row_combine_of(out, NULL, x, weights, k, n, false);
}

/* out = x - base. */
static inline void row_delta(float *restrict out, const float *restrict x,
			     const float *restrict base, size_t n, bool halves)
{
	if (halves)
		for (size_t i = 0; i < n; i++)
			out[i] = row_at(x, i, true) - row_at(base, i, true);
	else
		for (size_t i = 0; i < n; i++)
			out[i] = x[i] - base[i];
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
