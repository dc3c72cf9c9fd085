/*
 * Pruning by magnitude: the k largest elements of a task vector are kept, or
 * those below the largest. Of equal ones at a cut, the lower index counts as
 * the larger where the largest are kept, and as the smaller elsewhere, as
 * stable sorts have it; so exactly k are kept.
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/rows.h"
#include "merge/kernels/select.h"
#include "merge/methods/gather.h"
#include "merge/methods/task.h"

enum {
	LOW,
	HIGH, /* where the largest are dropped */
	N_CUTS,
};

/* Of one input. */
struct cut_facts {
	struct select cuts[N_CUTS];
	uint64_t keep; /* elements */
	uint64_t not_finite;
	double before, after; /* sums of magnitudes, for rescale */
};

/* Of one input, in parts and sums; those of its cuts are behind it. */
struct magnitudes {
	uint64_t not_finite;
	double before, between; /* the ranges of the cuts */
};

/* How many elements are dropped below, and how many at the top. */
static void find_ranks(uint64_t *ret_low, uint64_t *ret_high, unsigned input,
		       const struct method_args *args)
{
	double density = arg_of(args, TASK_DENSITY, input);
	uint64_t n = args->count, keep = (uint64_t)(density * (double)n);
	uint64_t top = 0;

	if (task_of(args)->outliers)
		top = (uint64_t)(arg_of(args, TASK_OWN, input) * (double)n);
	else if (keep == 0 && density > 0)
		keep = 1;
	if (keep > n)
		keep = n;
	uint64_t low = keep + top < n ? n - keep - top : 0;
	*ret_low = low;
	*ret_high = low + keep;
}

size_t magnitude_facts_size(const struct method_args *args)
{
	for (unsigned i = 0; i < args->n_inputs; i++)
		if (task_prunes(args, i))
			return args->n_inputs * sizeof(struct cut_facts);
	return 0;
}

/* Cuts of an input; none where all or none is kept. */
static unsigned count_cuts(unsigned input, const struct method_args *args)
{
	uint64_t low, high;
	if (!task_prunes(args, input))
		return 0;

	find_ranks(&low, &high, input, args);
	return low == high ? 0 : high < args->count ? 2 : 1;
}

/* Cuts of an input that a pass gathers something for. */
static unsigned count_gathered(unsigned input, unsigned pass,
			       const struct method_args *args)
{
	unsigned n_cuts = count_cuts(input, args);

	return n_cuts > 1 && select_shared(pass) ? 1 : n_cuts;
}

static struct select_sizes cut_sizes(unsigned pass,
				     const struct method_args *args)
{
	return select_sizes(pass, N_CUTS * args->n_inputs, args->count);
}

/* size is of one cut. */
static size_t input_size(size_t size, unsigned pass,
			 const struct method_args *args)
{
	bool both = task_of(args)->outliers && !select_shared(pass);

	return sizeof(struct magnitudes) + (both ? N_CUTS : 1) * size;
}

struct method_sizes magnitude_sizes(unsigned pass,
				    const struct method_args *args)
{
	struct select_sizes sizes = cut_sizes(pass, args);
	size_t n_vectors = args->n_inputs - 1;

	return (struct method_sizes){
		.part = n_vectors * input_size(sizes.part, pass, args),
		.sum = n_vectors * input_size(sizes.sum, pass, args),
	};
}

/* What an input other than the base has in a part or in a sum. */
struct gathered {
	struct magnitudes *all;
	void *cuts[N_CUTS]; /* the same where a pass serves both */
};

static struct gathered find_gathered(const void *room, size_t size,
				     unsigned input, unsigned pass,
				     const struct method_args *args)
{
	unsigned place = input - ((int)input > args->base);
	char *own = (char *)room + place * input_size(size, pass, args);
	char *low = own + sizeof(struct magnitudes);

	return (struct gathered){
		.all = (void *)own,
		.cuts = {low, select_shared(pass) ? low : low + size},
	};
}

void magnitude_begin(void *part, unsigned pass, const struct method_args *args)
{
	size_t size = cut_sizes(pass, args).part;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		unsigned n_cuts = count_gathered(i, pass, args);
		struct gathered own;
		if (n_cuts == 0)
			continue;

		own = find_gathered(part, size, i, pass, args);
		*own.all = (struct magnitudes){};
		for (unsigned c = 0; c < n_cuts; c++)
			select_begin(own.cuts[c], pass);
	}
}

size_t magnitude_reach(const struct method_scan *scan,
		       const struct method_args *args)
{
	const struct cut_facts *facts = scan->facts;
	size_t most = 0;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		unsigned n_cuts = count_cuts(i, args);
		for (unsigned c = 0; c < n_cuts; c++) {
			size_t n = select_reach(&facts[i].cuts[c], scan->pass,
						scan->piece, scan->first,
						scan->n, args->count);
			most = n > most ? n : most;
			if (scan->pass != SELECT_LOCATE)
				return n; /* the same for all */
		}
	}
	return most;
}

/* Sum of the elements that are kept wherever in their ranges the cuts are. */
static double sum_between(const struct cut_facts *facts, const float *delta,
			  size_t n, unsigned n_cuts)
{
	uint32_t low = facts->cuts[LOW].most;
	uint32_t high = n_cuts > HIGH ? facts->cuts[HIGH].least : UINT32_MAX;
	float kept[TILE];

	for (size_t i = 0; i < n; i++) {
		uint32_t key = select_key(delta[i]);
		kept[i] = key > low && key < high ? delta[i] : 0;
	}
	return select_sum(kept, n);
}

bool magnitude_takes_halves(const struct method_args *args)
{
	return args->n_inputs <= TASK_HALVES_MOST + 1;
}

static uint32_t count_not_finite(const float *x, size_t n)
{
	uint32_t not_finite = 0;

	for (size_t i = 0; i < n; i++)
		not_finite += select_bits(x[i]) >= SELECT_NOT_FINITE ? 1 : 0;
	return not_finite;
}

void magnitude_scan(const struct method_scan *scan,
		    const struct method_args *args)
{
	const struct cut_facts *facts = scan->facts;
	size_t size = cut_sizes(scan->pass, args).part;
	float delta[TILE];

	if (args->halves)
		row_ahead(scan->in[args->base], scan->n);
	for (unsigned i = 0; i < args->n_inputs; i++) {
		unsigned n_cuts = count_gathered(i, scan->pass, args);
		struct gathered part;
		if (n_cuts == 0)
			continue;

		part = find_gathered(scan->part, size, i, scan->pass, args);
		row_delta(delta, scan->in[i], scan->in[args->base], scan->n,
			  args->halves);
		if (args->halves)
			row_ahead(scan->in[i], scan->n);
		for (unsigned c = 0; c < n_cuts; c++)
			select_scan(&facts[i].cuts[c], scan->pass, scan->piece,
				    scan->first, part.cuts[c], delta, scan->n);
		if (!select_fills_bags(scan->pass))
			continue;
		part.all->not_finite += count_not_finite(delta, scan->n);
		if (!arg_shared(args, TASK_RESCALE))
			continue;
		part.all->before += select_sum(delta, scan->n);
		part.all->between +=
			sum_between(&facts[i], delta, scan->n, n_cuts);
	}
}

static void fold_magnitudes(struct magnitudes *sum,
			    const struct magnitudes *part)
{
	sum->not_finite += part->not_finite;
	sum->before += part->before;
	sum->between += part->between;
}

void magnitude_fold(void *sum, const void *part, unsigned pass,
		    const void *facts, const struct method_args *args)
{
	struct select_sizes sizes = cut_sizes(pass, args);
	(void)facts;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		unsigned n_cuts = count_gathered(i, pass, args);
		struct gathered all, own;
		if (n_cuts == 0)
			continue;

		all = find_gathered(sum, sizes.sum, i, pass, args);
		own = find_gathered(part, sizes.part, i, pass, args);
		fold_magnitudes(all.all, own.all);
		for (unsigned c = 0; c < n_cuts; c++)
			select_fold(all.cuts[c], own.cuts[c], pass,
				    N_CUTS * args->n_inputs, args->count);
	}
}

/* Sum of the elements in the bags with keys between two, without these. */
static double sum_bags(const void *sum, uint32_t low, uint32_t high)
{
	uint64_t n;
	const struct select_entry *entries = select_haul(sum, &n);
	double magnitudes = 0;

	for (uint64_t i = 0; i < n; i++)
		if (entries[i].key > low && entries[i].key < high)
			magnitudes += (double)entries[i].count *
				      (double)select_value(entries[i].key);
	return magnitudes;
}

/* Sum of the elements with a cut's key whose ranks are within [begin, end). */
static double sum_equal(const struct select *cut, uint64_t begin, uint64_t end)
{
	uint64_t first = cut->below, last = cut->below + cut->equal;

	first = first < begin ? begin : first;
	last = last < end ? last : end;
	return (double)(last - first) * (double)select_value(cut->key);
}

/*
 * The magnitudes that are kept: between the ranges, in the bags between the
 * cuts, and with the cuts' keys. Where the ranges overlap, the one that is
 * higher has it all.
 */
static double sum_kept(const struct cut_facts *facts,
		       const struct gathered *sums, unsigned n_cuts)
{
	const struct select *low = &facts->cuts[LOW];
	const struct select *high = &facts->cuts[HIGH];
	double between = sums->all->between;
	if (n_cuts == 1)
		return between +
		       sum_bags(sums->cuts[LOW], low->key, SELECT_NAN + 1) +
		       sum_equal(low, low->rank, UINT64_MAX);

	uint32_t most = high->key < high->least ? high->key : high->least;
	double sum = between + sum_bags(sums->cuts[LOW], low->key, most) +
		     sum_bags(sums->cuts[HIGH], low->key, high->key) +
		     sum_equal(low, low->rank, high->rank);
	if (low->key < high->key)
		sum += sum_equal(high, low->rank, high->rank);
	return sum;
}

static enum select_pass settle_input(struct cut_facts *facts, unsigned pass,
				     const struct gathered *sum,
				     unsigned n_cuts,
				     const struct method_args *args)
{
	enum select_pass next = SELECT_DONE;

	for (unsigned c = 0; c < n_cuts; c++) {
		enum select_pass own = select_settle(&facts->cuts[c], pass,
						     sum->cuts[c], args->count);
		next = own < next ? own : next;
	}
	if (!select_fills_bags(pass))
		return next;
	facts->not_finite = sum->all->not_finite;
	facts->before = sum->all->before;
	if (next >= SELECT_LOCATE)
		facts->after = sum_kept(facts, sum, n_cuts);
	plain_doubles(&facts->before, 1);
	plain_doubles(&facts->after, 1);
	return next;
}

/* Ranks, and which of equal elements counts as the larger. */
static void init_facts(struct cut_facts *facts, unsigned input,
		       const struct method_args *args)
{
	struct select *low = &facts->cuts[LOW], *high = &facts->cuts[HIGH];

	find_ranks(&low->rank, &high->rank, input, args);
	low->order = task_of(args)->outliers ? SELECT_LATER : SELECT_EARLIER;
	high->order = SELECT_LATER;
	facts->keep = high->rank - low->rank;
}

unsigned magnitude_settle(void *facts, unsigned pass, const void *sum,
			  const struct method_args *args)
{
	size_t size = cut_sizes(pass, args).sum;
	enum select_pass next = SELECT_DONE;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		struct cut_facts *own = (struct cut_facts *)facts + i;
		unsigned n_cuts = count_cuts(i, args);
		if (task_prunes(args, i) && pass == SELECT_SAMPLE)
			init_facts(own, i, args);
		if (n_cuts == 0)
			continue;

		struct gathered gathered =
			find_gathered(sum, size, i, pass, args);
		enum select_pass wanted =
			settle_input(own, pass, &gathered, n_cuts, args);
		next = wanted < next ? wanted : next;
	}
	return next == SELECT_DONE ? 0 : next;
}

static bool has_high(const struct cut_facts *facts,
		     const struct method_args *args)
{
	return facts->cuts[HIGH].rank < args->count;
}

/*
 * Keys from the limit on are kept. Equal ones at the cut are kept up to its
 * index where the largest are kept, and from there on elsewhere.
 */
static struct select_cut low_cut(const struct cut_facts *facts,
				 const struct method_args *args)
{
	const struct select *low = &facts->cuts[LOW];
	uint32_t keep = low->key, drop = low->key + 1;

	if (!low->nth)
		return (struct select_cut){.before = keep, .after = keep};
	return task_of(args)->outliers
		       ? (struct select_cut){drop, keep, low->index}
		       : (struct select_cut){keep, drop, low->index};
}

/* Keys below the limit are kept; of equal ones those before the index. */
static struct select_cut high_cut(const struct cut_facts *facts,
				  const struct method_args *args)
{
	const struct select *high = &facts->cuts[HIGH];
	uint32_t drop = high->key, keep = high->key + 1;

	if (!has_high(facts, args))
		return (struct select_cut){UINT32_MAX, UINT32_MAX, 0};
	if (!high->nth)
		return (struct select_cut){.before = drop, .after = drop};
	return (struct select_cut){keep, drop, high->index};
}

/* NaN stays what it is. */
static void keep_between(float *delta, uint32_t low, uint32_t high, size_t n)
{
	uint32_t wide = high > low ? high - low : 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t place = select_bits(delta[i]) - low;

		delta[i] *= place < wide ? 1.0f : 0.0f;
	}
}

void magnitude_prune(float *delta, uint64_t first, size_t n, unsigned input,
		     const struct method_args *args, const void *facts)
{
	const struct cut_facts *own = (const struct cut_facts *)facts + input;
	struct select_cut low = low_cut(own, args);
	struct select_cut high = high_cut(own, args);
	if (own->keep == 0) {
		keep_between(delta, 1, 0, n);
		return;
	}

	for (size_t at = 0; at < n;) {
		size_t now = select_run(&low, first + at, n - at);
		now = select_run(&high, first + at, now);
		keep_between(delta + at, select_limit(&low, first + at),
			     select_limit(&high, first + at), now);
		at += now;
	}
	if (arg_shared(args, TASK_RESCALE))
		row_multiply(delta, task_factor(own->before, own->after), n);
}

enum {
	FACT_KEPT,
	FACT_LOW,
	FACT_HIGH,
	FACT_FACTOR,
	FACT_NOT_FINITE,
	N_FACTS,
};

bool magnitude_tell(struct method_fact *ret, unsigned i, const void *facts,
		    const struct method_args *args)
{
	const struct cut_facts *own = facts;
	if (i >= args->n_inputs * N_FACTS)
		return false;

	own += i / N_FACTS;
	*ret = (struct method_fact){.input = (int)(i / N_FACTS)};
	if (!task_prunes(args, i / N_FACTS))
		return true; /* without a name: there is none */
	switch (i % N_FACTS) {
	case FACT_KEPT:
		ret->name = "elements kept";
		ret->value = (double)own->keep;
		break;
	case FACT_LOW:
		ret->name = "smallest magnitude kept";
		ret->value = (double)select_value(own->cuts[LOW].key);
		break;
	case FACT_HIGH:
		if (has_high(own, args))
			ret->name = "smallest outlier dropped";
		ret->value = (double)select_value(own->cuts[HIGH].key);
		break;
	case FACT_FACTOR:
		if (arg_shared(args, TASK_RESCALE))
			ret->name = "rescaled by";
		ret->value = (double)task_factor(own->before, own->after);
		break;
	default:
		if (own->not_finite)
			ret->name = "elements not finite";
		ret->value = (double)own->not_finite;
	}
	return true;
}
