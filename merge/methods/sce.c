#include "merge/methods/sce.h"

#include <string.h>

#include "merge/kernels/variance.h"

static const struct method_param params[] = {
	[SCE_TOPK] = {.name = "select_topk",
		      .summary = "share of the varying elements that is "
				 "kept",
		      .value = 1,
		      .min = 0,
		      .max = 1},
	[SCE_INT8_MASK] = {.name = "int8_mask",
			   .summary = "without effect on the result",
			   .type = PARAM_BOOL},
	{},
};

static int sce_copies(const struct method_args *args)
{
	bool nothing = arg_shared(args, SCE_TOPK) <= 0;

	return args->n_inputs == 1 || nothing ? args->base : -1;
}

/* The largest variances are kept, of equal ones those with lower indices. */
static struct select_cut find_cut(const struct sce_facts *facts)
{
	uint32_t keep = facts->cut.key, drop = keep + 1;

	if (facts->keep == 0)
		return (struct select_cut){UINT32_MAX, UINT32_MAX, 0};
	return facts->cut.nth
		       ? (struct select_cut){keep, drop, facts->cut.index}
		       : (struct select_cut){keep, keep, 0};
}

/* What is not selected becomes zero, or stays NaN. */
static void keep_above(float *restrict x, const float *restrict variance,
		       uint32_t limit, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= select_key(variance[i]) >= limit ? 1.0f : 0.0f;
}

static void keep_selected(const struct sce_vectors *vectors,
			  const float *variance, const struct select_cut *cut,
			  uint64_t first, size_t n)
{
	for (size_t at = 0; at < n;) {
		size_t now = select_run(cut, first + at, n - at);
		uint32_t limit = select_limit(cut, first + at);

		for (unsigned v = 0; v < vectors->n; v++)
			keep_above(vectors->x[v] + at, variance + at, limit,
				   now);
		at += now;
	}
}

/* Weights that sum up to 1: (n_inputs,) */
static void find_weights(float *weights, const struct sce_facts *facts,
			 const struct method_args *args)
{
	double sum = 0;

	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			sum += facts->squares[i];
	for (unsigned i = 0; i < args->n_inputs; i++)
		weights[i] = sum / (double)args->count < 1e-6
				     ? 1 / (float)(args->n_inputs - 1)
				     : (float)(facts->squares[i] / sum);
}

static bool sce_tell(struct method_fact *ret, unsigned i, const void *facts,
		     const struct method_args *args)
{
	const struct sce_facts *own = facts;
	float weights[INPUTS_MOST];
	if (i >= 2 + args->n_inputs)
		return false;

	*ret = (struct method_fact){.input = -1};
	if (i < 2) {
		if (sce_selects(args))
			ret->name =
				i == 0 ? "elements that vary" : "elements kept";
		ret->value = (double)(i == 0 ? own->varying : own->keep);
		return true;
	}
	i -= 2;
	find_weights(weights, own, args);
	ret->input = (int)i;
	if ((int)i != args->base)
		ret->name = "weight";
	ret->value = (double)weights[i];
	return true;
}

/* Is an element with the majority? As a number. */
static inline float voter(float x, float votes)
{
	return (votes >= 0 ? x : -x) > 0 ? 1 : 0;
}

/* Adds the elements whose sign has the majority, and their weights. */
static void add_voters(float *restrict sum, float *restrict weights,
		       const float *restrict votes, const float *restrict x,
		       float weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float own = weight * voter(x[i], votes[i]);

		sum[i] += x[i] * own;
		weights[i] += own;
	}
}

static inline float divide_voted(float sum, float weights)
{
	return sum / (weights < 1e-6f ? 1e-6f : weights);
}

static void blend_many(float *restrict out, const float *base,
		       const struct sce_vectors *vectors, const float *weights,
		       size_t n, bool halves)
{
	float votes[TILE], sums[TILE];

	memset(votes, 0, n * sizeof(*votes));
	memset(sums, 0, n * sizeof(*sums));
	memset(out, 0, n * sizeof(*out));
	for (unsigned v = 0; v < vectors->n; v++)
		row_add(votes, vectors->x[v], n);
	for (unsigned v = 0; v < vectors->n; v++)
		add_voters(out, sums, votes, vectors->x[v], weights[v], n);
	for (size_t i = 0; i < n; i++)
		out[i] = divide_voted(out[i], sums[i]);
	if (halves)
		for (size_t i = 0; i < n; i++)
			out[i] = row_at(base, i, true) + out[i];
	else
		row_add(out, base, n);
}

/* A vector and its weight. */
struct term {
	const float *x;
	float weight;
};

/* The same as keep_above() and blend_many() of two, in one go over memory. */
EITHER_KIND void blend_two_of(float *restrict out, const float *restrict base,
			      struct term a, struct term b,
			      const float *variance, uint32_t limit, size_t n,
			      bool halves)
{
	for (size_t i = 0; i < n; i++) {
		float keep = select_key(variance[i]) >= limit ? 1.0f : 0.0f;
		float x = a.x[i] * keep, y = b.x[i] * keep;
		float votes = y + x;
		float x_own = a.weight * voter(x, votes);
		float y_own = b.weight * voter(y, votes);
		float sum = (0 + x * x_own) + y * y_own;

		out[i] = row_at(base, i, halves) +
			 divide_voted(sum, x_own + y_own);
	}
}

static void blend_two(float *restrict out, const float *base,
		      const struct sce_vectors *vectors, const float *weights,
		      const float *variance, const struct select_cut *cut,
		      uint64_t first, size_t n, bool halves)
{
	for (size_t at = 0; at < n;) {
		size_t now = select_run(cut, first + at, n - at);
		uint32_t limit = select_limit(cut, first + at);
		struct term a = {vectors->x[0] + at, weights[0]};
		struct term b = {vectors->x[1] + at, weights[1]};

		if (halves)
			blend_two_of(out + at, row_from(base, at, true), a, b,
				     variance + at, limit, now, true);
		else
			blend_two_of(out + at, base + at, a, b, variance + at,
				     limit, now, false);
		at += now;
	}
}

static void sce_blend(float *restrict out, float *const *in, uint64_t first,
		      size_t n, const struct method_args *args,
		      const void *facts)
{
	const float *base = in[args->base];
	float weights[INPUTS_MOST], variance[TILE];
	struct select_cut cut = {}; /* all is above */
	struct sce_vectors vectors;

	sce_find_vectors(&vectors, in, n, args);
	find_weights(weights, facts, args);
	memmove(weights + args->base, weights + args->base + 1,
		(args->n_inputs - 1 - (unsigned)args->base) * sizeof(float));
	if (sce_selects(args)) {
		row_variance(variance, vectors.x, vectors.n, n);
		cut = find_cut(facts);
	} else {
		memset(variance, 0, n * sizeof(*variance));
	}
	if (vectors.n == 2) {
		blend_two(out, base, &vectors, weights, variance, &cut, first,
			  n, args->halves);
		return;
	}
	if (sce_selects(args))
		keep_selected(&vectors, variance, &cut, first, n);
	blend_many(out, base, &vectors, weights, n, args->halves);
}

static bool sce_takes_halves(const struct method_args *args)
{
	return args->n_inputs <= SCE_HALVES_MOST + 1;
}

const struct method ISA_NAME(method_sce) = {
	.name = "sce",
	.title = "SCE",
	.url = "https://arxiv.org/abs/2408.07990",
	.summary = "task vectors weighted by their squares, by majority of "
		   "signs",
	.formula = "base + sum w_i p_i / sum w_i, p_i the select_topk most "
		   "varying elements of x_i - base, w_i mean p_i^2; elements "
		   "against the sign of the sum left out",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.copies = sce_copies,
	.takes_halves = sce_takes_halves,
	.facts_size = sce_facts_size,
	.sizes = sce_sizes,
	.begin = sce_begin,
	.scan = sce_scan,
	.reach = sce_reach,
	.fold = sce_fold,
	.settle = sce_settle,
	.tell = sce_tell,
	.blend = sce_blend,
};
