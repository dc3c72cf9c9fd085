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

/* The first pass, in place of a sample: it makes one, too, of an element of
 * every stretch of them. */
#define PASS_ROWS SELECT_SAMPLE
#define STRETCH 256

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

/* As many as keep what is behind them aligned. */
static uint64_t count_stretches(const struct method_args *args)
{
	return args->count / STRETCH / 2 * 2;
}

/* The element of a stretch that is kept; they are in all columns. */
static uint64_t kept_element(uint64_t stretch)
{
	uint32_t place = (uint32_t)stretch * 0x9e3779b1u >> 24;
	_Static_assert(STRETCH == 1 << (32 - 24), "bits of a place");

	return stretch * STRETCH + place;
}

/* Quantiles that a pass gathers something for. */
static unsigned count_gathered(unsigned pass)
{
	return select_shared(pass) ? 1 : N_QUANTILES;
}

static struct method_sizes fusion_sizes(unsigned pass,
					const struct method_args *args)
{
	if (pass == PASS_ROWS)
		return (struct method_sizes){
			.sum = count_rows(args) * sizeof(double) +
			       count_stretches(args) * sizeof(float)};

	struct select_sizes sizes =
		select_sizes(pass, N_QUANTILES, args->count);
	return (struct method_sizes){
		.part = count_gathered(pass) * sizes.part,
		.sum = count_gathered(pass) * sizes.sum,
	};
}

static inline float importance(float change, float divergence)
{
	return fabsf(change) * divergence;
}

/* Importance, in place of the other model. */
static void weigh(float *restrict x, const float *restrict base,
		  float divergence, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = importance(x[i] - base[i], divergence);
}

/* Keeps those elements of a row for the sample. */
static void keep_some(float *kept, const float *x, const float *base,
		      uint64_t row, float divergence,
		      const struct method_args *args)
{
	uint64_t first = row * args->row, end = first + args->row;
	uint64_t stretches = count_stretches(args);

	for (uint64_t s = first / STRETCH; s < stretches; s++) {
		uint64_t at = kept_element(s);
		if (at >= end)
			break;
		if (at >= first)
			kept[s] = importance(x[at - first] - base[at - first],
					     divergence);
	}
}

static void scan_row(const struct method_scan *scan, size_t at,
		     const struct method_args *args)
{
	const struct fusion_facts *facts = scan->facts;
	uint64_t row = (scan->first + at) / args->row;
	const float *base = scan->in[args->base] + at;
	float *other = scan->in[1 - args->base] + at;
	double *divergences = scan->sum;
	float *kept = (float *)(divergences + count_rows(args));
	size_t size = select_sizes(scan->pass, N_QUANTILES, args->count).part;

	if (scan->pass == PASS_ROWS) {
		divergences[row] = softmax_divergence(other, base, args->row);
		keep_some(kept, other, base, row, (float)divergences[row],
			  args);
		return;
	}
	weigh(other, base, (float)facts->divergences[row], args->row);
	for (unsigned i = 0; i < count_gathered(scan->pass); i++)
		select_scan(&facts->quantiles[i], scan->pass, scan->piece,
			    scan->first + at, (char *)scan->part + i * size,
			    other, args->row);
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
	struct select_sizes sizes =
		select_sizes(pass, N_QUANTILES, args->count);
	(void)facts;

	for (unsigned i = 0; pass != PASS_ROWS && i < count_gathered(pass); i++)
		select_fold((char *)sum + i * sizes.sum,
			    (const char *)part + i * sizes.part, pass,
			    N_QUANTILES, args->count);
}

static double quantile(const struct fusion_facts *facts, int i)
{
	return (double)select_value(facts->quantiles[i].key);
}

static void settle_rows(struct fusion_facts *facts, const double *divergences,
			const struct method_args *args)
{
	static const double shares[] = {0.25, 0.5, 0.75};
	uint64_t rows = count_rows(args), n = count_stretches(args);
	const float *kept = (const float *)(divergences + rows);

	memcpy(facts->divergences, divergences, rows * sizeof(double));
	plain_doubles(facts->divergences, rows);
	for (int i = 0; i < N_QUANTILES; i++) {
		double last = args->count ? (double)(args->count - 1) : 0;
		facts->quantiles[i].rank = (uint64_t)(shares[i] * last);
		select_predict(&facts->quantiles[i], kept, n, args->count);
	}
}

static unsigned fusion_settle(void *facts, unsigned pass, const void *sum,
			      const struct method_args *args)
{
	struct fusion_facts *own = facts;
	size_t size = select_sizes(pass, N_QUANTILES, args->count).sum;
	enum select_pass next = SELECT_DONE;
	if (pass == PASS_ROWS) {
		settle_rows(own, sum, args);
		return SELECT_BAGS;
	}

	for (unsigned i = 0; i < N_QUANTILES; i++) {
		enum select_pass wanted = select_settle(
			&own->quantiles[i], pass,
			(const char *)sum + i % count_gathered(pass) * size,
			args->count);
		next = wanted < next ? wanted : next;
	}
	if (next != SELECT_DONE)
		return next;
	own->limit =
		quantile(own, MEDIAN) + 1.5 * (quantile(own, THIRD_QUARTILE) -
					       quantile(own, FIRST_QUARTILE));
	plain_doubles(&own->limit, 1);
	return 0;
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
		double weight = (double)importance(change, divergence);
		float mask = weight >= limit ? 1.0f : 0.0f;

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
