/*
 * Who contributes to an element: the task vectors that are larger than epsilon
 * there. Shared by ram and ramplus_tl.
 */
#ifndef MERGE_METHODS_CONTRIBUTIONS_H
#define MERGE_METHODS_CONTRIBUTIONS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
#include "merge/methods/method.h"

/* Is an element of a task vector large enough? NaN is. 1 or 0, as compilers
 * make vectors of numbers rather than of truths. */
static inline uint32_t is_larger(float delta, float epsilon)
{
	return fabsf(delta) <= epsilon ? 0 : 1;
}

/* A contribution times factor where it is the only one, else its share of the
 * mean. */
static inline float share_of(float delta, float count, float factor)
{
	return count > 1 ? delta / count : delta * factor;
}

/* Makes task vectors of the inputs, and counts contributors: (n,) */
static inline void find_contributions(float *restrict counts, float *const *in,
				      size_t n, float epsilon,
				      const struct method_args *args)
{
	const float *restrict base = in[args->base];

	memset(counts, 0, n * sizeof(*counts));
	for (unsigned i = 0; i < args->n_inputs; i++) {
		float *restrict x = in[i];
		if ((int)i == args->base)
			continue;
		for (size_t j = 0; j < n; j++) {
			float delta = x[j] - base[j];

			x[j] = is_larger(delta, epsilon) ? delta : 0;
			counts[j] += is_larger(delta, epsilon) ? 1.0f : 0.0f;
		}
	}
}

/* Adds the contributions of one input. */
static inline void add_contributions(float *restrict sum,
				     const float *restrict delta,
				     const float *restrict counts, float factor,
				     size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += share_of(delta[i], counts[i], factor);
}

/* The inputs besides the base, if they are two, as there are mostly: then all
 * is done in one go over memory, with the same steps. */
struct two {
	unsigned a, b;
};

static inline bool find_two(struct two *ret, const struct method_args *args)
{
	*ret = (struct two){.a = args->base == 0, .b = args->base == 2 ? 1 : 2};
	return args->n_inputs == 3;
}

static inline bool contributions_take_halves(const struct method_args *args)
{
	struct two two;

	return find_two(&two, args);
}

EITHER_KIND void blend_two_of(float *restrict out, const float *restrict base,
			      const float *restrict a, float a_factor,
			      const float *restrict b, float b_factor,
			      float epsilon, size_t n, bool halves)
{
	for (size_t i = 0; i < n; i++) {
		float start = row_at(base, i, halves);
		float own = row_at(a, i, halves) - start;
		float other = row_at(b, i, halves) - start;
		uint32_t has_own = 0 - is_larger(own, epsilon);
		uint32_t has_other = 0 - is_larger(other, epsilon);
		uint32_t both = has_own & has_other;
		float sum = 0;

		sum += pick(has_own, own, 0) * pick(both, 0.5f, a_factor);
		sum += pick(has_other, other, 0) * pick(both, 0.5f, b_factor);
		out[i] = start + sum;
	}
}

static inline void blend_two(float *out, float *const *in, struct two two,
			     size_t n, float epsilon, const float *factors,
			     const struct method_args *args)
{
	const float *base = in[args->base], *a = in[two.a], *b = in[two.b];

	if (args->halves)
		blend_two_of(out, base, a, factors[two.a], b, factors[two.b],
			     epsilon, n, true);
	else
		blend_two_of(out, base, a, factors[two.a], b, factors[two.b],
			     epsilon, n, false);
}

/* base + contributions, those of one input alone times its factor. */
static inline void blend_contributions(float *restrict out, float *const *in,
				       size_t n, float epsilon,
				       const float *factors,
				       const struct method_args *args)
{
	float counts[TILE];
	struct two two;
	if (find_two(&two, args)) {
		blend_two(out, in, two, n, epsilon, factors, args);
		return;
	}

	find_contributions(counts, in, n, epsilon, args);
	memset(out, 0, n * sizeof(*out));
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			add_contributions(out, in[i], counts, factors[i], n);
	row_add(out, in[args->base], n);
}

#endif
