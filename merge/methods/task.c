#include "merge/methods/task.h"

#include <math.h>
#include <string.h>

#include "merge/kernels/rows.h"

#define CHUNK 1024 /* elements whose sums stay in the nearest cache */

/* The base alone is its own merge, whatever is added to it is not. */
int task_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? args->base : -1;
}

/* Adds the elements whose sign has the majority, and their weights. */
static void add_voters(float *restrict sum, float *restrict weights,
		       const float *restrict votes, const float *restrict x,
		       float weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float with = votes[i] >= 0 ? x[i] : -x[i];
		float keep = with > 0 ? 1 : 0;

		sum[i] += x[i] * keep;
		weights[i] += weight * keep;
	}
}

static void divide_voted(float *restrict sum, const float *restrict weights,
			 size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] = sum[i] / (weights[i] == 0 ? 1 : weights[i]);
}

static void sum_all(float *out, float *const *in, size_t at, size_t n,
		    const struct method_args *args)
{
	bool empty = true;
	float weights = 0;

	memset(out, 0, n * sizeof(*out));
	for (unsigned i = 0; i < args->n_inputs; i++) {
		if ((int)i == args->base)
			continue;
		if (empty)
			memcpy(out, in[i] + at, n * sizeof(*out));
		else
			row_add(out, in[i] + at, n);
		empty = false;
		weights += (float)arg_of(args, TASK_WEIGHT, i);
	}
	if (arg_shared(args, TASK_NORMALIZE) && !(fabsf(weights) < 1e-8f))
		row_divide(out, weights, n);
}

static void sum_voted(float *out, float *const *in, size_t at, size_t n,
		      const struct method_args *args)
{
	float votes[CHUNK] = {}, weights[CHUNK] = {};

	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			row_add(votes, in[i] + at, n);
	memset(out, 0, n * sizeof(*out));
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			add_voters(out, weights, votes, in[i] + at,
				   (float)arg_of(args, TASK_WEIGHT, i), n);
	if (arg_shared(args, TASK_NORMALIZE))
		divide_voted(out, weights, n);
}

/* The task vector, pruned and weighted, in place of the input. */
static void weigh(float *restrict x, const float *restrict base, float weight,
		  size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (x[i] - base[i]) * weight;
}

void task_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts)
{
	const struct task_traits *traits = task_of(args);
	const float *base = in[args->base];
	float lambda = (float)arg_shared(args, TASK_LAMBDA);

	for (unsigned i = 0; i < args->n_inputs; i++) {
		float weight = (float)arg_of(args, TASK_WEIGHT, i);
		if ((int)i == args->base)
			continue;
		if (!traits->prune || !task_prunes(args, i)) {
			weigh(in[i], base, weight, n);
			continue;
		}
		task_delta(in[i], base, n);
		traits->prune(in[i], first, n, i, args, facts);
		row_multiply(in[i], weight, n);
	}
	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;

		if (traits->vote)
			sum_voted(out + at, in, at, now, args);
		else
			sum_all(out + at, in, at, now, args);
		if (lambda != 1)
			row_multiply(out + at, lambda, now);
		row_add(out + at, base + at, now);
	}
}
