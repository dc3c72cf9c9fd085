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

/* Of one input. */
struct cut_facts {
	struct select low, high; /* the cuts' elements */
	uint64_t keep;		 /* elements */
	uint64_t not_finite;
	double before, after; /* sums of magnitudes, for rescale */
};

enum {
	PASS_TOPS,
	PASS_LOWS,
	PASS_TIES,
};

/* Parts and sums of the passes, for one input each. */
struct tops_part {
	double sum; /* of magnitudes, for rescale */
	uint32_t counts[SELECT_TOPS];
};

struct tops_sum {
	double sum;
	uint64_t counts[SELECT_TOPS];
};

struct lows_part {
	double sum; /* of magnitudes between the cuts */
};

struct lows_sum {
	double sum;
	uint64_t low[SELECT_LOWS], high[SELECT_LOWS]; /* high: unless equal */
};

#define MARK_WORDS (PIECE / 64)

struct marks_part {
	uint64_t piece;
	uint64_t low[MARK_WORDS], high[MARK_WORDS];
};

struct marks_sum {
	uint64_t low_seen, low_index, high_seen, high_index;
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

struct method_sizes magnitude_sizes(unsigned pass,
				    const struct method_args *args)
{
	static const struct method_sizes sizes[] = {
		[PASS_TOPS] = {sizeof(struct tops_part),
			       sizeof(struct tops_sum)},
		[PASS_LOWS] = {sizeof(struct lows_part),
			       sizeof(struct lows_sum)},
		[PASS_TIES] = {sizeof(struct marks_part),
			       sizeof(struct marks_sum)},
	};

	return (struct method_sizes){
		.part = args->n_inputs * sizes[pass].part,
		.sum = args->n_inputs * sizes[pass].sum,
	};
}

static bool has_high(const struct cut_facts *facts,
		     const struct method_args *args)
{
	return facts->high.rank < args->count;
}

static bool keeps_some(const struct cut_facts *facts)
{
	return facts->low.rank < facts->high.rank;
}

/* Sum of the elements that are kept whatever the lower bits of the cuts. */
static double sum_between(const struct cut_facts *facts, const float *delta,
			  size_t n, const struct method_args *args)
{
	uint32_t low = facts->low.top;
	uint32_t high = has_high(facts, args) ? facts->high.top : SELECT_TOPS;
	float kept[TILE];

	for (size_t i = 0; i < n; i++) {
		uint32_t top = select_key(delta[i]) >> 16;
		kept[i] = top > low && top < high ? delta[i] : 0;
	}
	return select_sum(kept, n);
}

static void scan_tops(struct tops_part *part, const float *delta, size_t n,
		      const struct method_args *args)
{
	select_count_tops(part->counts, delta, n);
	if (arg_shared(args, TASK_RESCALE))
		part->sum += select_sum(delta, n);
}

static void scan_lows(struct lows_part *part, struct lows_sum *sum,
		      const struct cut_facts *facts, const float *delta,
		      size_t n, const struct method_args *args)
{
	if (!keeps_some(facts))
		return;
	select_count_lows(sum->low, facts->low.top, delta, n);
	if (has_high(facts, args) && facts->high.top != facts->low.top)
		select_count_lows(sum->high, facts->high.top, delta, n);
	if (arg_shared(args, TASK_RESCALE))
		part->sum += sum_between(facts, delta, n, args);
}

static void scan_ties(struct marks_part *part, const struct cut_facts *facts,
		      const struct method_scan *scan, const float *delta)
{
	size_t at = (size_t)(scan->first - scan->piece);

	part->piece = scan->piece;
	if (facts->low.nth)
		select_mark(part->low, at, facts->low.key, delta, scan->n);
	if (facts->high.nth)
		select_mark(part->high, at, facts->high.key, delta, scan->n);
}

void magnitude_scan(const struct method_scan *scan,
		    const struct method_args *args)
{
	const struct cut_facts *facts = scan->facts;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		if (!task_prunes(args, i))
			continue;
		task_delta(scan->in[i], scan->in[args->base], scan->n);
		if (scan->pass == PASS_TOPS)
			scan_tops((struct tops_part *)scan->part + i,
				  scan->in[i], scan->n, args);
		else if (scan->pass == PASS_LOWS)
			scan_lows((struct lows_part *)scan->part + i,
				  (struct lows_sum *)scan->sum + i, &facts[i],
				  scan->in[i], scan->n, args);
		else
			scan_ties((struct marks_part *)scan->part + i,
				  &facts[i], scan, scan->in[i]);
	}
}

static void fold_tops(struct tops_sum *sum, const struct tops_part *part)
{
	sum->sum += part->sum;
	select_fold_tops(sum->counts, part->counts);
}

static void fold_marks(struct marks_sum *sum, const struct marks_part *part,
		       const struct cut_facts *facts)
{
	uint64_t at;

	if (facts->low.nth &&
	    select_fold_marks(&facts->low, part->low, MARK_WORDS,
			      &sum->low_seen, &at))
		sum->low_index = part->piece + at;
	if (facts->high.nth &&
	    select_fold_marks(&facts->high, part->high, MARK_WORDS,
			      &sum->high_seen, &at))
		sum->high_index = part->piece + at;
}

void magnitude_fold(void *sum, const void *part, unsigned pass,
		    const void *facts, const struct method_args *args)
{
	for (unsigned i = 0; i < args->n_inputs; i++) {
		if (!task_prunes(args, i))
			continue;
		if (pass == PASS_TOPS)
			fold_tops((struct tops_sum *)sum + i,
				  (const struct tops_part *)part + i);
		else if (pass == PASS_LOWS)
			((struct lows_sum *)sum)[i].sum +=
				((const struct lows_part *)part)[i].sum;
		else
			fold_marks((struct marks_sum *)sum + i,
				   (const struct marks_part *)part + i,
				   (const struct cut_facts *)facts + i);
	}
}

static void settle_tops(struct cut_facts *facts, const struct tops_sum *sum,
			unsigned input, const struct method_args *args)
{
	find_ranks(&facts->low.rank, &facts->high.rank, input, args);
	facts->keep = facts->high.rank - facts->low.rank;
	facts->before = sum->sum;
	for (uint32_t i = SELECT_NOT_FINITE; i < SELECT_TOPS; i++)
		facts->not_finite += sum->counts[i];
	if (!keeps_some(facts))
		return;
	select_find_top(&facts->low, sum->counts);
	if (has_high(facts, args))
		select_find_top(&facts->high, sum->counts);
}

/* Sum of the kept elements whose upper bits are those of a cut. */
static double sum_at_cuts(const struct cut_facts *facts, const uint64_t *lows,
			  uint64_t below, uint32_t top)
{
	double sum = 0;

	for (uint32_t low = 0; low < SELECT_LOWS; low++) {
		uint64_t begin = below, end = below + lows[low];

		below = end;
		if (begin < facts->low.rank)
			begin = facts->low.rank;
		if (end > facts->high.rank)
			end = facts->high.rank;
		if (begin < end)
			sum += (double)(end - begin) *
			       (double)select_value(top << 16 | low);
	}
	return sum;
}

/*
 * Which of the equal elements at a cut is the first on its upper side, in the
 * order of indices; 0 where all are on one side.
 */
static uint64_t first_above(const struct select *cut, bool reversed)
{
	uint64_t lower = cut->rank - cut->below;

	if (lower == 0 || lower == cut->equal)
		return 0;
	return reversed ? cut->equal - lower : lower;
}

/* Returns true if the cuts' indices must be looked for. */
static bool settle_lows(struct cut_facts *facts, const struct lows_sum *sum,
			const struct method_args *args)
{
	bool high = has_high(facts, args);
	bool apart = high && facts->low.top != facts->high.top;
	if (!keeps_some(facts))
		return false;

	facts->after = sum->sum + sum_at_cuts(facts, sum->low, facts->low.below,
					      facts->low.top);
	if (apart)
		facts->after += sum_at_cuts(facts, sum->high, facts->high.below,
					    facts->high.top);
	select_find_key(&facts->low, sum->low);
	facts->low.nth = first_above(&facts->low, !task_of(args)->outliers);
	if (high) {
		select_find_key(&facts->high, apart ? sum->high : sum->low);
		facts->high.nth = first_above(&facts->high, false);
	}
	return facts->low.nth || facts->high.nth;
}

unsigned magnitude_settle(void *facts, unsigned pass, const void *sum,
			  const struct method_args *args)
{
	bool more = pass == PASS_TOPS;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		struct cut_facts *own = (struct cut_facts *)facts + i;
		const struct marks_sum *marks = (const struct marks_sum *)sum;
		if (!task_prunes(args, i))
			continue;

		if (pass == PASS_TOPS) {
			settle_tops(own, (const struct tops_sum *)sum + i, i,
				    args);
		} else if (pass == PASS_LOWS) {
			more |= settle_lows(
				own, (const struct lows_sum *)sum + i, args);
		} else {
			own->low.index = marks[i].low_index;
			own->high.index = marks[i].high_index;
		}
		plain_doubles(&own->before, 1);
		plain_doubles(&own->after, 1);
	}
	return more ? pass + 1 : 0;
}

/*
 * Keys from the limit on are kept. Equal ones at the cut are kept up to its
 * index where the largest are kept, and from there on elsewhere.
 */
static struct select_cut low_cut(const struct cut_facts *facts,
				 const struct method_args *args)
{
	const struct select *low = &facts->low;
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
	const struct select *high = &facts->high;
	uint32_t drop = high->key, keep = high->key + 1;

	if (!has_high(facts, args))
		return (struct select_cut){UINT32_MAX, UINT32_MAX, 0};
	if (!high->nth)
		return (struct select_cut){.before = drop, .after = drop};
	return (struct select_cut){keep, drop, high->index};
}

static void keep_between(float *delta, uint32_t low, uint32_t high, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t key = select_key(delta[i]);

		delta[i] *= key >= low && key < high ? 1.0f : 0.0f;
	}
}

/* Elements before the next index at which a limit changes. */
static size_t run_length(const struct select_cut *cut, uint64_t at, size_t n)
{
	return cut->index > at && cut->index - at < n
		       ? (size_t)(cut->index - at)
		       : n;
}

void magnitude_prune(float *delta, uint64_t first, size_t n, unsigned input,
		     const struct method_args *args, const void *facts)
{
	const struct cut_facts *own = (const struct cut_facts *)facts + input;
	struct select_cut low = low_cut(own, args);
	struct select_cut high = high_cut(own, args);
	if (!keeps_some(own)) {
		keep_between(delta, 1, 0, n);
		return;
	}

	for (size_t at = 0; at < n;) {
		size_t now = run_length(&low, first + at, n - at);
		now = run_length(&high, first + at, now);
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
		ret->value = (double)select_value(own->low.key);
		break;
	case FACT_HIGH:
		if (has_high(own, args))
			ret->name = "smallest outlier dropped";
		ret->value = (double)select_value(own->high.key);
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
