/*
 * The cut between elements that are kept and those that are not, and the sums
 * of squares of what is kept: both from one look at all elements, mostly, and
 * one at the piece that has the cut. The squares of elements whose variances
 * are in the range of the cut (select.h) are summed up by variance.
 */
#include <string.h>

#include "merge/kernels/gram.h"
#include "merge/kernels/variance.h"
#include "merge/methods/gather.h"
#include "merge/methods/sce.h"

/* The only one where all is kept. */
#define PASS_SQUARES SELECT_DONE

/* In parts and sums of the passes that select. */
struct variances {
	uint64_t zeros, n;
	uint64_t n_entries; /* of the cut's that have squares, in parts */
	double squares[];   /* (n_vectors,) sums over what surely is kept */
};

/* All of a part or a sum: where keys go into bags, every key's entry has sums
 * of squares of its own. */
struct gathered {
	struct variances *all;
	void *cut;
	double *squares; /* (entries, n_vectors) */
};

size_t sce_facts_size(const struct method_args *args)
{
	return sizeof(struct sce_facts) + args->n_inputs * sizeof(double);
}

static unsigned kind_of(unsigned pass, const struct method_args *args)
{
	return sce_selects(args) ? pass : PASS_SQUARES;
}

static unsigned count_vectors(const struct method_args *args)
{
	return args->n_inputs - 1;
}

/* It is as if of so many cuts, as its entries take more room. */
static unsigned count_cuts(const struct method_args *args)
{
	return args->n_inputs > 1 ? count_vectors(args) : 1;
}

static struct select_sizes cut_sizes(unsigned pass,
				     const struct method_args *args)
{
	return select_sizes(pass, count_cuts(args), args->count);
}

static size_t variances_size(const struct method_args *args)
{
	return sizeof(struct variances) + count_vectors(args) * sizeof(double);
}

struct method_sizes sce_sizes(unsigned pass, const struct method_args *args)
{
	size_t squares = args->n_inputs * sizeof(double);
	if (kind_of(pass, args) == PASS_SQUARES)
		return (struct method_sizes){.part = squares, .sum = squares};

	struct select_sizes cut = cut_sizes(pass, args);
	struct method_sizes sizes = {
		.part = variances_size(args) + cut.part,
		.sum = variances_size(args) + cut.sum,
	};
	if (select_fills_bags(pass)) {
		size_t entry = count_vectors(args) * sizeof(double);
		sizes.part += SELECT_ENTRIES * entry;
		sizes.sum += cut.sum / sizeof(struct select_entry) * entry;
	}
	return sizes;
}

/* size: of the cut's. */
static struct gathered find_gathered(const void *room, size_t size,
				     const struct method_args *args)
{
	char *cut = (char *)room + variances_size(args);

	return (struct gathered){
		.all = (void *)room,
		.cut = cut,
		.squares = (double *)(void *)(cut + size),
	};
}

void sce_begin(void *part, unsigned pass, const struct method_args *args)
{
	if (kind_of(pass, args) == PASS_SQUARES) {
		memset(part, 0, args->n_inputs * sizeof(double));
		return;
	}
	memset(part, 0, variances_size(args));
	select_begin((char *)part + variances_size(args), pass);
}

size_t sce_reach(const struct method_scan *scan, const struct method_args *args)
{
	const struct sce_facts *facts = scan->facts;

	return select_reach(&facts->cut, kind_of(scan->pass, args), scan->piece,
			    scan->first, scan->n, args->count);
}

static void add_squares(double *sum, float *row, size_t n)
{
	struct gram_rows rows = {.in = &row, .n = n};

	gram_add(sum, &rows, 1);
}

static void scan_all(const struct method_scan *scan,
		     const struct method_args *args)
{
	double *squares = scan->part;
	struct sce_vectors vectors;

	sce_find_vectors(&vectors, scan->in, scan->n, args);
	for (unsigned i = 0, v = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			add_squares(&squares[i], vectors.x[v++], scan->n);
}

/* Squares of what surely is kept. No NaN is dropped: a range that ends below
 * its key is below it. */
static void add_above(double *squares, const struct sce_vectors *vectors,
		      const float *variance, uint32_t most, size_t n)
{
	float kept[TILE];

	for (unsigned v = 0; v < vectors->n; v++) {
		const float *x = vectors->x[v];
		for (size_t i = 0; i < n; i++)
			kept[i] = select_key(variance[i]) > most ? x[i] : 0;
		add_squares(&squares[v], kept, n);
	}
}

static void add_found(const struct gathered *part,
		      const struct sce_vectors *vectors,
		      const struct select_found *found, size_t n_found)
{
	for (size_t i = 0; i < n_found; i++) {
		double *own =
			part->squares + (size_t)found[i].entry * vectors->n;

		if (found[i].entry == part->all->n_entries) {
			memset(own, 0, vectors->n * sizeof(*own));
			part->all->n_entries++;
		}
		for (unsigned v = 0; v < vectors->n; v++) {
			double x = (double)vectors->x[v][found[i].place];
			own[v] += x * x;
		}
	}
}

/* Of the elements with the cut's key, those before the place that was found, if
 * it was. Of others NaN stays NaN. */
static void add_equal(const struct gathered *part,
		      const struct sce_vectors *vectors, const float *variance,
		      const struct method_scan *scan)
{
	const struct sce_facts *facts = scan->facts;
	uint64_t index = select_place(part->cut);
	size_t before = index <= scan->first ? 0 : index - scan->first;
	float kept[TILE];

	for (unsigned v = 0; v < vectors->n; v++) {
		for (size_t i = 0; i < scan->n; i++) {
			bool is = i < before &&
				  select_key(variance[i]) == facts->cut.key;
			kept[i] = vectors->x[v][i] * (is ? 1.0f : 0.0f);
		}
		add_squares(&part->all->squares[v], kept, scan->n);
	}
}

static uint64_t count_zeros(const float *x, size_t n)
{
	uint32_t zeros = 0;

	for (size_t i = 0; i < n; i++)
		zeros += x[i] == 0;
	return zeros;
}

void sce_scan(const struct method_scan *scan, const struct method_args *args)
{
	const struct sce_facts *facts = scan->facts;
	unsigned kind = kind_of(scan->pass, args);
	struct select_found found[TILE];
	struct sce_vectors vectors;
	float variance[TILE];
	if (kind == PASS_SQUARES) {
		scan_all(scan, args);
		return;
	}

	struct gathered part =
		find_gathered(scan->part, cut_sizes(kind, args).part, args);
	sce_find_vectors(&vectors, scan->in, scan->n, args);
	row_variance(variance, vectors.x, vectors.n, scan->n);
	part.all->zeros += count_zeros(variance, scan->n);
	part.all->n += scan->n;
	if (select_fills_bags(kind)) {
		size_t n = select_find(&facts->cut, scan->piece, part.cut,
				       variance, scan->n, found);
		add_found(&part, &vectors, found, n);
		add_above(part.all->squares, &vectors, variance,
			  facts->cut.most, scan->n);
		return;
	}
	select_scan(&facts->cut, kind, scan->piece, scan->first, part.cut,
		    variance, scan->n);
	if (kind == SELECT_LOCATE)
		add_equal(&part, &vectors, variance, scan);
}

/* The squares of the entries that are added to the sum's, behind their head. */
static void fold_entries(const struct gathered *sum,
			 const struct gathered *part, uint64_t n_before,
			 size_t n_vectors)
{
	uint64_t n;

	select_haul(sum->cut, &n);
	if (n > n_before)
		memcpy(sum->squares + (n_before + 1) * n_vectors, part->squares,
		       (n - n_before - 1) * n_vectors * sizeof(double));
}

void sce_fold(void *sum, const void *part, unsigned pass, const void *facts,
	      const struct method_args *args)
{
	unsigned kind = kind_of(pass, args), n_vectors = count_vectors(args);
	(void)facts;
	if (kind == PASS_SQUARES) {
		add_doubles(sum, part, args->n_inputs);
		return;
	}

	struct select_sizes sizes = cut_sizes(kind, args);
	struct gathered all = find_gathered(sum, sizes.sum, args);
	struct gathered own = find_gathered(part, sizes.part, args);
	uint64_t n_before = 0;

	all.all->zeros += own.all->zeros;
	all.all->n += own.all->n;
	add_doubles(all.all->squares, own.all->squares, n_vectors);
	if (select_fills_bags(kind))
		select_haul(all.cut, &n_before);
	select_fold(all.cut, own.cut, kind, count_cuts(args), args->count);
	if (select_fills_bags(kind))
		fold_entries(&all, &own, n_before, n_vectors);
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
	facts->keep =
		(uint64_t)((double)facts->varying * arg_shared(args, SCE_TOPK));
	facts->cut.rank = args->count - facts->keep;
	facts->cut.order = SELECT_EARLIER;
}

/*
 * Adds the squares of what a pass has found to be kept: above the range, and in
 * it above the cut. Those with the cut's key in its piece are left to
 * SELECT_LOCATE. Of what is dropped NaN stays NaN.
 */
static void add_kept(struct sce_facts *facts, const struct gathered *sum,
		     unsigned pass, const struct method_args *args)
{
	unsigned n_vectors = count_vectors(args);
	double squares[INPUTS_MOST];
	uint64_t n = 0, seen = 0;
	const struct select_entry *entries = NULL;

	memcpy(squares, sum->all->squares, n_vectors * sizeof(*squares));
	if (select_fills_bags(pass))
		entries = select_haul(sum->cut, &n);
	for (uint64_t e = 0; e < n; e++) {
		if (entries[e].key > SELECT_MOST)
			continue;
		double kept = select_above(&facts->cut, &entries[e], &seen);
		for (unsigned v = 0; v < n_vectors; v++)
			squares[v] += kept * sum->squares[e * n_vectors + v];
	}
	for (unsigned i = 0, v = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			facts->squares[i] += squares[v++];
	plain_doubles(facts->squares, args->n_inputs);
}

/* With nothing kept there is nothing to look for. */
static unsigned settle_cut(struct sce_facts *facts, unsigned pass,
			   const void *sum, const struct method_args *args)
{
	struct gathered all =
		find_gathered(sum, cut_sizes(pass, args).sum, args);
	unsigned next;

	if (pass != SELECT_LOCATE)
		find_rank(facts, all.all, args);
	if (facts->keep == 0)
		return all.all->n == args->count ? 0 : pass + 1;
	next = select_settle(&facts->cut, pass, all.cut, args->count);
	if (next >= SELECT_LOCATE)
		add_kept(facts, &all, pass, args);
	return next == SELECT_DONE ? 0 : next;
}

unsigned sce_settle(void *facts, unsigned pass, const void *sum,
		    const struct method_args *args)
{
	struct sce_facts *own = facts;
	if (kind_of(pass, args) != PASS_SQUARES)
		return settle_cut(own, pass, sum, args);

	memcpy(own->squares, sum, args->n_inputs * sizeof(double));
	plain_doubles(own->squares, args->n_inputs);
	return 0;
}
