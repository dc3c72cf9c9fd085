/*
 * SCE: select the elements that vary most between the task vectors, calculate
 * a weight of each from its squares, erase elements against the majority of
 * signs (Wan et al., FuseChat, 2024).
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/gram.h"
#include "merge/kernels/rows.h"
#include "merge/kernels/select.h"
#include "merge/kernels/vector.h"
#include "merge/methods/gather.h"
#include "merge/methods/method.h"

enum {
	SELECT_TOPK,
	INT8_MASK,
};

static const struct method_param params[] = {
	[SELECT_TOPK] = {.name = "select_topk",
			 .summary = "share of the varying elements that is "
				    "kept",
			 .value = 1,
			 .min = 0,
			 .max = 1},
	[INT8_MASK] = {.name = "int8_mask",
		       .summary = "without effect on the result",
		       .type = PARAM_BOOL},
	{},
};

/* Behind the passes that select; without them it is the first. */
#define PASS_SQUARES SELECT_DONE

struct sce_facts {
	struct select cut;
	uint64_t varying, keep; /* elements */
	double squares[];	/* (n_inputs,) sums over what is kept */
};

/* In parts and sums of the passes that select; the cut's is behind it. */
struct variances {
	uint64_t zeros, n;
};

static int sce_copies(const struct method_args *args)
{
	bool nothing = arg_shared(args, SELECT_TOPK) <= 0;

	return args->n_inputs == 1 || nothing ? args->base : -1;
}

static bool selects(const struct method_args *args)
{
	return arg_shared(args, SELECT_TOPK) < 1;
}

static size_t sce_facts_size(const struct method_args *args)
{
	return sizeof(struct sce_facts) + args->n_inputs * sizeof(double);
}

static unsigned kind_of(unsigned pass, const struct method_args *args)
{
	return selects(args) ? pass : PASS_SQUARES;
}

static struct method_sizes sce_sizes(unsigned pass,
				     const struct method_args *args)
{
	unsigned kind = kind_of(pass, args);
	size_t squares = args->n_inputs * sizeof(double);
	if (kind == PASS_SQUARES)
		return (struct method_sizes){squares, squares};

	struct select_sizes sizes = select_sizes(kind, 1, args->count);
	return (struct method_sizes){
		.part = sizeof(struct variances) + sizes.part,
		.sum = sizeof(struct variances) + sizes.sum,
	};
}

static size_t sce_reach(const struct method_scan *scan,
			const struct method_args *args)
{
	const struct sce_facts *facts = scan->facts;

	return select_reach(&facts->cut, kind_of(scan->pass, args), scan->piece,
			    scan->first, scan->n, args->count);
}

static void find_deltas(float *const *in, size_t n,
			const struct method_args *args)
{
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			row_subtract(in[i], in[args->base], n);
}

/* What sums over the task vectors are divided by. */
struct divisor {
	double value, inverse;
	bool inverts; /* a power of two: dividing is multiplying, only slower */
};

static struct divisor find_divisor(const struct method_args *args)
{
	double n_vectors = args->n_inputs - 1;
	int exponent;

	return (struct divisor){
		.value = n_vectors,
		.inverse = 1 / n_vectors,
		.inverts = frexp(n_vectors, &exponent) == 0.5,
	};
}

static inline vector divide(vector x, const struct divisor *by)
{
	return by->inverts ? x * by->inverse : x / by->value;
}

#define WIDTH (4 * VECTOR) /* elements that are worked on in registers */

static inline void variance_at(float *out, const float *const *x,
			       unsigned n_vectors, size_t at,
			       const struct divisor *by)
{
	vector mean[4] = {}, sum[4] = {};

	for (unsigned i = 0; i < n_vectors; i++)
		for (int s = 0; s < 4; s++)
			mean[s] += widen(x[i] + at + s * VECTOR);
	for (int s = 0; s < 4; s++)
		mean[s] = divide(mean[s], by);
	for (unsigned i = 0; i < n_vectors; i++)
		for (int s = 0; s < 4; s++) {
			vector off = widen(x[i] + at + s * VECTOR) - mean[s];
			sum[s] += off * off;
		}
	for (int s = 0; s < 4; s++) {
		vector variance = divide(sum[s], by);
		for (int i = 0; i < VECTOR; i++)
			out[s * VECTOR + i] = (float)variance[i];
	}
}

/* Population variance of the task vectors, element by element. */
static void find_variance(float *out, float *const *in, size_t n,
			  const struct method_args *args)
{
	float ends[INPUTS_MOST][WIDTH], last[WIDTH];
	const float *x[INPUTS_MOST];
	struct divisor by = find_divisor(args);
	unsigned n_vectors = 0;
	size_t at = 0;

	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			x[n_vectors++] = in[i];
	for (; at + WIDTH <= n; at += WIDTH)
		variance_at(out + at, x, n_vectors, at, &by);
	if (at == n)
		return;
	for (unsigned i = 0; i < n_vectors; i++) {
		memset(ends[i], 0, sizeof(ends[i]));
		memcpy(ends[i], x[i] + at, (n - at) * sizeof(float));
		x[i] = ends[i];
	}
	variance_at(last, x, n_vectors, 0, &by);
	memcpy(out + at, last, (n - at) * sizeof(float));
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

/* 1 for the elements that are kept, 0 for the others. */
static void find_mask(float *mask, const float *variance, uint64_t first,
		      size_t n, const struct sce_facts *facts)
{
	struct select_cut cut = find_cut(facts);

	for (size_t i = 0; i < n; i++) {
		uint32_t limit = select_limit(&cut, first + i);
		mask[i] = select_key(variance[i]) >= limit ? 1.0f : 0.0f;
	}
}

static void row_mask(float *restrict x, const float *restrict mask, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] *= mask[i];
}

/* Task vectors in place of inputs, without what is not selected. */
static void find_selected(float *const *in, uint64_t first, size_t n,
			  const struct method_args *args,
			  const struct sce_facts *facts)
{
	float variance[TILE], mask[TILE];

	find_deltas(in, n, args);
	if (!selects(args))
		return;
	find_variance(variance, in, n, args);
	find_mask(mask, variance, first, n, facts);
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			row_mask(in[i], mask, n);
}

static void scan_squares(const struct method_scan *scan,
			 const struct method_args *args)
{
	double *squares = scan->part;

	find_selected(scan->in, scan->first, scan->n, args, scan->facts);
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			gram_add(&squares[i],
				 &(struct gram_rows){.in = scan->in + i,
						     .n = scan->n},
				 1);
}

static uint64_t count_zeros(const float *x, size_t n)
{
	uint32_t zeros = 0;

	for (size_t i = 0; i < n; i++)
		zeros += x[i] == 0;
	return zeros;
}

static void sce_scan(const struct method_scan *scan,
		     const struct method_args *args)
{
	const struct sce_facts *facts = scan->facts;
	struct variances *part = scan->part;
	float variance[TILE];
	if (kind_of(scan->pass, args) == PASS_SQUARES) {
		scan_squares(scan, args);
		return;
	}

	find_deltas(scan->in, scan->n, args);
	find_variance(variance, scan->in, scan->n, args);
	part->zeros += count_zeros(variance, scan->n);
	part->n += scan->n;
	select_scan(&facts->cut, scan->pass, scan->piece, scan->first, part + 1,
		    variance, scan->n);
}

static void sce_fold(void *sum, const void *part, unsigned pass,
		     const void *facts, const struct method_args *args)
{
	struct variances *all = sum;
	const struct variances *own = part;
	(void)facts;
	if (kind_of(pass, args) == PASS_SQUARES) {
		add_doubles(sum, part, args->n_inputs);
		return;
	}

	all->zeros += own->zeros;
	all->n += own->n;
	select_fold(all + 1, own + 1, pass, 1, args->count);
}

/* Of how many elements are kept a pass over some of them tells nearly, one over
 * all exactly. */
static void find_rank(struct sce_facts *facts, const struct variances *seen,
		      const struct method_args *args)
{
	double share = (double)(seen->n - seen->zeros) / (double)seen->n;

	facts->varying = seen->n == args->count
				 ? seen->n - seen->zeros
				 : (uint64_t)(share * (double)args->count);
	facts->keep = (uint64_t)((double)facts->varying *
				 arg_shared(args, SELECT_TOPK));
	facts->cut.rank = args->count - facts->keep;
	facts->cut.order = SELECT_EARLIER;
}

/* With nothing kept there is nothing to look for. */
static unsigned settle_cut(struct sce_facts *facts, unsigned pass,
			   const struct variances *sum,
			   const struct method_args *args)
{
	if (pass != SELECT_LOCATE)
		find_rank(facts, sum, args);
	if (facts->keep == 0)
		return sum->n == args->count ? 0 : pass + 1;
	return select_settle(&facts->cut, pass, sum + 1, args->count);
}

static unsigned sce_settle(void *facts, unsigned pass, const void *sum,
			   const struct method_args *args)
{
	struct sce_facts *own = facts;
	if (kind_of(pass, args) != PASS_SQUARES)
		return settle_cut(own, pass, sum, args);

	memcpy(own->squares, sum, args->n_inputs * sizeof(double));
	plain_doubles(own->squares, args->n_inputs);
	return 0;
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
		if (selects(args))
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

/* Adds the elements whose sign has the majority, and their weights. */
static void add_voters(float *restrict sum, float *restrict weights,
		       const float *restrict votes, const float *restrict x,
		       float weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float with = votes[i] >= 0 ? x[i] : -x[i];
		float own = weight * (with > 0 ? 1.0f : 0.0f);

		sum[i] += x[i] * own;
		weights[i] += own;
	}
}

static void sce_blend(float *restrict out, float *const *in, uint64_t first,
		      size_t n, const struct method_args *args,
		      const void *facts)
{
	const float *restrict base = in[args->base];
	float votes[TILE], sums[TILE], weights[INPUTS_MOST];

	find_selected(in, first, n, args, facts);
	find_weights(weights, facts, args);
	memset(votes, 0, n * sizeof(*votes));
	memset(sums, 0, n * sizeof(*sums));
	memset(out, 0, n * sizeof(*out));
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			row_add(votes, in[i], n);
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			add_voters(out, sums, votes, in[i], weights[i], n);
	for (size_t i = 0; i < n; i++)
		out[i] = base[i] + out[i] / (sums[i] < 1e-6f ? 1e-6f : sums[i]);
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
	.facts_size = sce_facts_size,
	.sizes = sce_sizes,
	.scan = sce_scan,
	.reach = sce_reach,
	.fold = sce_fold,
	.settle = sce_settle,
	.tell = sce_tell,
	.blend = sce_blend,
};
