/*
 * Who contributes to an element: the task vectors that are larger than epsilon
 * there. Shared by ram and ramplus_tl.
 */
#ifndef MERGE_METHODS_CONTRIBUTIONS_H
#define MERGE_METHODS_CONTRIBUTIONS_H

#include <math.h>
#include <string.h>

#include "merge/kernels/rows.h"
#include "merge/methods/method.h"

/* A task vector in place of its input, without what is too small; NaN is not.
 */
static inline void keep_larger(float *restrict x, const float *restrict base,
			       float epsilon, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float delta = x[i] - base[i];
		x[i] = fabsf(delta) <= epsilon ? 0 : delta;
	}
}

/* Adds up how many contribute. */
static inline void count_larger(float *restrict counts,
				const float *restrict delta, size_t n)
{
	for (size_t i = 0; i < n; i++)
		counts[i] += delta[i] == 0 ? 0.0f : 1.0f;
}

/* Makes task vectors of the inputs, and counts contributors: (n,) */
static inline void find_contributions(float *counts, float *const *in, size_t n,
				      float epsilon,
				      const struct method_args *args)
{
	memset(counts, 0, n * sizeof(*counts));
	for (unsigned i = 0; i < args->n_inputs; i++) {
		if ((int)i == args->base)
			continue;
		keep_larger(in[i], in[args->base], epsilon, n);
		count_larger(counts, in[i], n);
	}
}

/* Adds the contributions of one input: times factor where it is the only one,
 * else its share of the mean. */
static inline void add_contributions(float *restrict sum,
				     const float *restrict delta,
				     const float *restrict counts, float factor,
				     size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += counts[i] > 1 ? delta[i] / counts[i]
					: delta[i] * factor;
}

#endif
