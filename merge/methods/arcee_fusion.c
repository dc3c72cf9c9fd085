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

/*
 * The first pass, in place of a sample of its own: of every GROUP units of rows
 * (rows that are scanned together) one is looked at, anywhere in the group, and
 * an element of every stretch of it is kept. Where those tell little, as rows
 * differ too much or are too few, a pass over all rows keeps elements of them,
 * in the proportion that the first one does. Either way the next pass looks for
 * the quantiles; and the first one over all rows finds their divergences.
 */
#define PASS_SAMPLE SELECT_SAMPLE
#define PASS_ROWS SELECT_DONE
#define GROUP 8
#define GROUPS_LEAST 64
#define STRETCH_MOST 32
#define KEPT_LEAST 32768 /* unless all there are */

/* Ranks deviate by so many standard deviations, hardly ever by more. */
#define DEVIATIONS 3

/* A larger share of the elements on either side tells little. */
#define MARGIN_MOST 0.013

enum {
	FIRST_QUARTILE,
	MEDIAN,
	THIRD_QUARTILE,
	N_QUANTILES,
};

struct fusion_facts {
	struct select quantiles[N_QUANTILES];
	double limit;
	uint64_t known;	      /* are the divergences? */
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

static uint64_t count_groups(const struct method_args *args)
{
	return args->row ? args->count / method_unit(args->row) / GROUP : 0;
}

/* What a pass does; of few groups there is no sample. */
static unsigned kind_of(unsigned pass, const struct method_args *args)
{
	bool few = count_groups(args) < GROUPS_LEAST;

	return pass == PASS_SAMPLE && few ? PASS_ROWS : pass;
}

/* Of so many elements one is kept. */
static uint64_t find_stretch(unsigned kind, const struct method_args *args)
{
	uint64_t stretch = STRETCH_MOST;

	while (stretch > 1 && args->count / GROUP / stretch < KEPT_LEAST)
		stretch /= 2;
	return kind == PASS_ROWS ? stretch * GROUP : stretch;
}

/* Elements that are kept of a group. */
static uint64_t kept_of_group(const struct method_args *args)
{
	return method_unit(args->row) / find_stretch(PASS_SAMPLE, args);
}

static uint64_t count_kept(unsigned kind, const struct method_args *args)
{
	return kind == PASS_ROWS ? args->count / find_stretch(kind, args)
				 : count_groups(args) * kept_of_group(args);
}

/* A number below `most`, of all numbers in turn. */
static uint64_t choose(uint64_t turn, uint64_t most)
{
	return (uint64_t)((uint32_t)turn * 0x9e3779b1u) * most >> 32;
}

/* Quantiles that a pass gathers something for. */
static unsigned count_gathered(unsigned pass)
{
	return select_shared(pass) ? 1 : N_QUANTILES;
}

static size_t gathered_size(unsigned pass, const struct method_args *args)
{
	return count_gathered(pass) *
	       select_sizes(pass, N_QUANTILES, args->count).sum;
}

/* Sums of passes over all rows have the divergences, and something before or
 * behind them. */
static struct method_sizes fusion_sizes(unsigned pass,
					const struct method_args *args)
{
	unsigned kind = kind_of(pass, args);
	size_t kept = (count_kept(kind, args) + 1) / 2 * sizeof(double);
	size_t rows = count_rows(args) * sizeof(double);
	if (kind == PASS_SAMPLE)
		return (struct method_sizes){.sum = kept};
	if (kind == PASS_ROWS)
		return (struct method_sizes){.sum = kept + rows};

	return (struct method_sizes){
		.part = count_gathered(pass) *
			select_sizes(pass, N_QUANTILES, args->count).part,
		.sum = gathered_size(pass, args) + rows,
	};
}

static void fusion_begin(void *part, unsigned pass,
			 const struct method_args *args)
{
	unsigned kind = kind_of(pass, args);
	size_t size = select_sizes(pass, N_QUANTILES, args->count).part;
	if (kind == PASS_SAMPLE || kind == PASS_ROWS)
		return;

	for (unsigned i = 0; i < count_gathered(pass); i++)
		select_begin((char *)part + i * size, pass);
}

static size_t fusion_reach(const struct method_scan *scan,
			   const struct method_args *args)
{
	if (kind_of(scan->pass, args) != PASS_SAMPLE)
		return scan->n;

	uint64_t unit = scan->first / method_unit(args->row),
		 group = unit / GROUP;
	bool chosen = group < count_groups(args) &&
		      unit % GROUP == choose(group, GROUP);
	return chosen ? scan->n : 0;
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

/* Elements that are kept for the sample, one of every stretch. */
struct kept {
	float *values; /* (n,) */
	uint64_t n, stretch, turn;
};

/* Keeps those elements of a row, which is `first` elements behind the first
 * stretch. */
static void keep_some(const struct kept *kept, uint64_t first, const float *x,
		      const float *base, float divergence, uint64_t row)
{
	for (uint64_t s = first / kept->stretch; s < kept->n; s++) {
		uint64_t at = s * kept->stretch +
			      choose(kept->turn + s, kept->stretch);
		if (at >= first + row)
			break;
		if (at >= first)
			kept->values[s] = importance(
				x[at - first] - base[at - first], divergence);
	}
}

/* Of the scanned rows of a group those before `at` are done. */
static void sample_row(const struct method_scan *scan, size_t at,
		       const float *x, const float *base,
		       const struct method_args *args)
{
	uint64_t group = scan->first / method_unit(args->row) / GROUP;
	uint64_t n = kept_of_group(args);
	struct kept kept = {(float *)scan->sum + group * n, n,
			    find_stretch(PASS_SAMPLE, args), group * n};

	keep_some(&kept, at, x, base,
		  (float)softmax_divergence(x, base, args->row), args->row);
}

static void keep_of_all(const struct method_scan *scan, size_t at,
			const float *x, const float *base, float divergence,
			const struct method_args *args)
{
	struct kept kept = {(float *)((double *)scan->sum + count_rows(args)),
			    count_kept(PASS_ROWS, args),
			    find_stretch(PASS_ROWS, args), 0};

	keep_some(&kept, scan->first + at, x, base, divergence, args->row);
}

/* The divergences that a pass finds, of all rows; NULL: they are known. */
static double *found_divergences(const struct method_scan *scan,
				 const struct method_args *args)
{
	const struct fusion_facts *facts = scan->facts;
	size_t before = kind_of(scan->pass, args) == PASS_ROWS
				? 0
				: gathered_size(scan->pass, args);

	return facts->known ? NULL : (double *)((char *)scan->sum + before);
}

static double find_divergence(const struct method_scan *scan, size_t at,
			      const float *x, const float *base,
			      const struct method_args *args)
{
	const struct fusion_facts *facts = scan->facts;
	uint64_t row = (scan->first + at) / args->row;
	double *found = found_divergences(scan, args);
	if (!found)
		return facts->divergences[row];

	found[row] = softmax_divergence(x, base, args->row);
	plain_doubles(found + row, 1);
	return found[row];
}

static void scan_row(const struct method_scan *scan, size_t at,
		     const struct method_args *args)
{
	const struct fusion_facts *facts = scan->facts;
	const float *base = scan->in[args->base] + at;
	float *other = scan->in[1 - args->base] + at;
	unsigned kind = kind_of(scan->pass, args);
	if (kind == PASS_SAMPLE) {
		sample_row(scan, at, other, base, args);
		return;
	}

	float divergence = (float)find_divergence(scan, at, other, base, args);
	if (kind == PASS_ROWS) {
		keep_of_all(scan, at, other, base, divergence, args);
		return;
	}
	size_t size = select_sizes(scan->pass, N_QUANTILES, args->count).part;
	weigh(other, base, divergence, args->row);
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
	unsigned kind = kind_of(pass, args);
	(void)facts;
	if (kind == PASS_SAMPLE || kind == PASS_ROWS)
		return;

	for (unsigned i = 0; i < count_gathered(pass); i++)
		select_fold((char *)sum + i * sizes.sum,
			    (const char *)part + i * sizes.part, pass,
			    N_QUANTILES, args->count);
}

static double quantile(const struct fusion_facts *facts, int i)
{
	return (double)select_value(facts->quantiles[i].key);
}

static void settle_rows(struct fusion_facts *facts, const double *found,
			const struct method_args *args)
{
	memcpy(facts->divergences, found, count_rows(args) * sizeof(double));
	facts->known = 1;
}

/*
 * By how much the share of elements that are below a key deviates in a sample.
 * Groups are independent, elements of one group are not: its rows may be as
 * likely all below as all above.
 */
static double share_deviation(const float *kept, uint64_t groups, uint64_t n,
			      uint32_t key)
{
	double sum = 0, squares = 0;

	for (uint64_t g = 0; g < groups; g++) {
		uint64_t below = 0;
		for (uint64_t i = 0; i < n; i++)
			below += select_key(kept[g * n + i]) < key;
		double share = (double)below / (double)n;
		sum += share;
		squares += share * share;
	}
	double mean = sum / (double)groups;
	double variance = squares / (double)groups - mean * mean;
	return sqrt(variance > 0 ? variance / (double)groups : 0);
}

/* The ranges by the sample of groups; false if they are wide. */
static bool predict_by_groups(struct fusion_facts *facts, const float *kept,
			      const struct method_args *args)
{
	uint64_t groups = count_groups(args), n = kept_of_group(args);
	uint64_t all = groups * n;

	for (int i = 0; i < N_QUANTILES; i++) {
		struct select *cut = &facts->quantiles[i];

		select_predict(cut, kept, all, 0, args->count);
		double margin = DEVIATIONS *
				share_deviation(kept, groups, n, cut->least);
		if (margin > MARGIN_MOST)
			return false;
		select_predict(cut, kept, all, margin * (double)all + 1,
			       args->count);
	}
	return true;
}

/* By elements that are independent; a share of them deviates by
 * 1 / (2 sqrt(n)), or less. */
static void predict_by_all(struct fusion_facts *facts, const float *kept,
			   const struct method_args *args)
{
	uint64_t n = count_kept(PASS_ROWS, args);
	double margin = DEVIATIONS * sqrt((double)n) / 2 + 1;

	for (int i = 0; i < N_QUANTILES; i++)
		select_predict(&facts->quantiles[i], kept, n, margin,
			       args->count);
}

static void set_ranks(struct fusion_facts *facts,
		      const struct method_args *args)
{
	static const double shares[] = {0.25, 0.5, 0.75};
	double last = args->count ? (double)(args->count - 1) : 0;

	for (int i = 0; i < N_QUANTILES; i++)
		facts->quantiles[i].rank = (uint64_t)(shares[i] * last);
}

static unsigned settle_cuts(struct fusion_facts *facts, unsigned pass,
			    const void *sum, const struct method_args *args)
{
	size_t size = select_sizes(pass, N_QUANTILES, args->count).sum;
	enum select_pass next = SELECT_DONE;

	for (unsigned i = 0; i < N_QUANTILES; i++) {
		enum select_pass wanted = select_settle(
			&facts->quantiles[i], pass,
			(const char *)sum + i % count_gathered(pass) * size,
			args->count);
		next = wanted < next ? wanted : next;
	}
	if (next != SELECT_DONE)
		return next;
	facts->limit = quantile(facts, MEDIAN) +
		       1.5 * (quantile(facts, THIRD_QUARTILE) -
			      quantile(facts, FIRST_QUARTILE));
	plain_doubles(&facts->limit, 1);
	return 0;
}

static unsigned fusion_settle(void *facts, unsigned pass, const void *sum,
			      const struct method_args *args)
{
	struct fusion_facts *own = facts;

	if (pass == PASS_SAMPLE)
		set_ranks(own, args);
	switch (kind_of(pass, args)) {
	case PASS_SAMPLE:
		return predict_by_groups(own, sum, args) ? SELECT_BAGS
							 : PASS_ROWS;
	case PASS_ROWS:
		settle_rows(own, sum, args);
		predict_by_all(
			own,
			(const float *)((const double *)sum + count_rows(args)),
			args);
		return SELECT_BAGS;
	default:
		if (!own->known)
			settle_rows(own,
				    (const double *)((const char *)sum +
						     gathered_size(pass, args)),
				    args);
		return settle_cuts(own, pass, sum, args);
	}
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

/* The floats that are at least this are those that are at least the limit. */
static float least_float(double limit)
{
	float least = (float)limit;

	return (double)least < limit ? nextafterf(least, INFINITY) : least;
}

static void fuse(float *restrict out, const float *restrict x,
		 const float *restrict base, float divergence, float limit,
		 size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float change = x[i] - base[i];
		float weight = importance(change, divergence);
		float mask = weight >= limit ? 1.0f : 0.0f;

		out[i] = base[i] + change * mask;
	}
}

static void fusion_blend(float *out, float *const *in, uint64_t first, size_t n,
			 const struct method_args *args, const void *facts)
{
	const struct fusion_facts *own = facts;
	float limit = least_float(own->limit);

	for (size_t at = 0; at < n; at += args->row)
		fuse(out + at, in[1 - args->base] + at, in[args->base] + at,
		     (float)own->divergences[(first + at) / args->row], limit,
		     args->row);
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
	.begin = fusion_begin,
	.scan = fusion_scan,
	.reach = fusion_reach,
	.fold = fusion_fold,
	.settle = fusion_settle,
	.tell = fusion_tell,
	.blend = fusion_blend,
};
