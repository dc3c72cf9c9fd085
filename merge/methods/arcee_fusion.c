/*
 * Arcee Fusion: the other model's elements where the change is important, which
 * is its size times how far apart the rows are as probabilities; the limit is
 * the median plus one and a half times the distance of the quartiles.
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/select.h"
#include "merge/kernels/softmax.h"
#include "merge/methods/gather.h"
#include "merge/methods/method.h"

static const struct method_param params[] = {
	{},
};

enum {
	PASS_ROWS,
	PASS_TOPS,
	PASS_LOWS,
};

enum {
	FIRST_QUARTILE,
	MEDIAN,
	THIRD_QUARTILE,
	N_QUANTILES,
};

struct fusion_facts {
	struct select quantiles[N_QUANTILES];
	double limit;
	double divergences[]; /* (rows,) */
};

static uint64_t count_rows(const struct method_args *args)
{
	return args->row ? args->count / args->row : 0;
}

static bool fusion_by_rows(const struct method_args *args)
{
	(void)args;

	return true;
}

static size_t fusion_facts_size(const struct method_args *args)
{
	return sizeof(struct fusion_facts) + count_rows(args) * sizeof(double);
}

static struct method_sizes fusion_sizes(unsigned pass,
					const struct method_args *args)
{
	switch (pass) {
	case PASS_ROWS:
		return (struct method_sizes){.sum = count_rows(args) *
						    sizeof(double)};
	case PASS_TOPS:
		return (struct method_sizes){SELECT_TOPS * sizeof(uint32_t),
					     SELECT_TOPS * sizeof(uint64_t)};
	default:
		return (struct method_sizes){.sum = N_QUANTILES * SELECT_LOWS *
						    sizeof(uint64_t)};
	}
}

/* Importance, in place of the other model. */
static void weigh(float *restrict x, const float *restrict base,
		  float divergence, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = fabsf(x[i] - base[i]) * divergence;
}

static void scan_row(const struct method_scan *scan, size_t at,
		     const struct method_args *args)
{
	const struct fusion_facts *facts = scan->facts;
	uint64_t row = (scan->first + at) / args->row;
	const float *base = scan->in[args->base] + at;
	float *other = scan->in[1 - args->base] + at;
	double *divergences = scan->sum;
	uint64_t *lows = scan->sum;

	if (scan->pass == PASS_ROWS) {
		divergences[row] = softmax_divergence(other, base, args->row);
		return;
	}
	weigh(other, base, (float)facts->divergences[row], args->row);
	if (scan->pass == PASS_TOPS) {
		select_count_tops(scan->part, other, args->row);
		return;
	}
	for (int i = 0; i < N_QUANTILES; i++) {
		uint32_t top = facts->quantiles[i].top;
		bool counted = i > 0 && facts->quantiles[i - 1].top == top;
		if (!counted)
			select_count_lows(lows + i * SELECT_LOWS, top, other,
					  args->row);
	}
}

static void fusion_scan(const struct method_scan *scan,
			const struct method_args *args)
{
	for (size_t at = 0; at < scan->n; at += args->row)
		scan_row(scan, at, args);
}

static void fusion_fold(void *sum, const void *part, unsigned pass,
			const void *facts, const struct method_args *args)
{
	(void)facts;
	(void)args;

	if (pass == PASS_TOPS)
		select_fold_tops(sum, part);
}

static double quantile(const struct fusion_facts *facts, int i)
{
	return (double)select_value(facts->quantiles[i].key);
}

static unsigned settle_lows(struct fusion_facts *facts, const uint64_t *lows)
{
	const uint64_t *own = lows;

	for (int i = 0; i < N_QUANTILES; i++) {
		struct select *quantiles = facts->quantiles;
		if (i > 0 && quantiles[i].top != quantiles[i - 1].top)
			own = lows + i * SELECT_LOWS;
		select_find_key(&quantiles[i], own);
	}
	facts->limit = quantile(facts, MEDIAN) +
		       1.5 * (quantile(facts, THIRD_QUARTILE) -
			      quantile(facts, FIRST_QUARTILE));
	plain_doubles(&facts->limit, 1);
	return 0;
}

static unsigned fusion_settle(void *facts, unsigned pass, const void *sum,
			      const struct method_args *args)
{
	static const double shares[] = {0.25, 0.5, 0.75};
	struct fusion_facts *own = facts;
	uint64_t rows = count_rows(args);

	if (pass == PASS_ROWS) {
		memcpy(own->divergences, sum, rows * sizeof(double));
		plain_doubles(own->divergences, rows);
		return PASS_TOPS;
	}
	if (pass == PASS_LOWS)
		return settle_lows(own, sum);
	for (int i = 0; i < N_QUANTILES; i++) {
		double last = args->count ? (double)(args->count - 1) : 0;
		own->quantiles[i].rank = (uint64_t)(shares[i] * last);
		select_find_top(&own->quantiles[i], sum);
	}
	return PASS_LOWS;
}

static bool fusion_tell(struct method_fact *ret, unsigned i, const void *facts,
			const struct method_args *args)
{
	static const char *const names[] = {
		"importance, first quartile",
		"importance, median",
		"importance, third quartile",
		"smallest importance that counts",
	};
	const struct fusion_facts *own = facts;
	(void)args;
	if (i > N_QUANTILES)
		return false;

	*ret = (struct method_fact){
		.name = names[i],
		.input = -1,
		.value = i < N_QUANTILES ? quantile(own, (int)i) : own->limit,
	};
	return true;
}

static void fuse(float *restrict out, const float *restrict x,
		 const float *restrict base, float divergence, double limit,
		 size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float change = x[i] - base[i];
		float importance = fabsf(change) * divergence;
		float mask = (double)importance >= limit ? 1.0f : 0.0f;

		out[i] = base[i] + change * mask;
	}
}

static void fusion_blend(float *out, float *const *in, uint64_t first, size_t n,
			 const struct method_args *args, const void *facts)
{
	const struct fusion_facts *own = facts;

	for (size_t at = 0; at < n; at += args->row)
		fuse(out + at, in[1 - args->base] + at, in[args->base] + at,
		     (float)own->divergences[(first + at) / args->row],
		     own->limit, args->row);
}

const struct method ISA_NAME(method_arcee_fusion) = {
	.name = "arcee_fusion",
	.title = "Arcee Fusion",
	.url = "https://arcee.ai",
	.summary = "the other model's most important changes",
	.formula = "the other model where |other - base| KL(row) is at least "
		   "median + 1.5 (third - first quartile) of it, else the base",
	.base = BASE_REQUIRED,
	.min_inputs = 2,
	.max_inputs = 2,
	.params = params,
	.by_rows = fusion_by_rows,
	.facts_size = fusion_facts_size,
	.sizes = fusion_sizes,
	.scan = fusion_scan,
	.fold = fusion_fold,
	.settle = fusion_settle,
	.tell = fusion_tell,
	.blend = fusion_blend,
};
