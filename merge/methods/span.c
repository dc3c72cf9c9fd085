#include "merge/methods/span.h"

#include <math.h>
#include <string.h>

#include "merge/kernels/angle.h"
#include "merge/kernels/gram.h"
#include "merge/kernels/rows.h"
#include "merge/methods/gather.h"

#define GRAM_MOST (INPUTS_MOST * (INPUTS_MOST + 1) / 2)
#define CHUNK 512

/* With larger coefficients, as of nearly opposite vectors, terms cancel. */
#define CANCEL 4

/* Facts: (n,) coefficients, then the Gram matrix. */

size_t span_facts_size(const struct method_args *args)
{
	const struct span_traits *traits = args->traits;
	unsigned n = span_vectors(args);

	if (traits->by_rows && traits->by_rows(args))
		return 0;
	return (n + gram_count(n)) * sizeof(double);
}

struct method_sizes span_sizes(unsigned pass, const struct method_args *args)
{
	size_t n = gram_count(span_vectors(args));
	(void)pass;

	return (struct method_sizes){
		.part = n * sizeof(struct gram_lanes),
		.sum = n * sizeof(double),
	};
}

/* The inputs that vectors are, or come from, and what is subtracted from them.
 * Returns them as rows. */
static struct gram_rows find_vectors(float **vectors, float *const *in,
				     size_t n, const struct method_args *args)
{
	for (unsigned i = 0; i < span_vectors(args); i++)
		vectors[i] = in[span_input(args, i)];
	return (struct gram_rows){
		.in = vectors,
		.base = span_from_base(args) ? in[args->base] : NULL,
		.halves = args->halves,
		.n = n,
	};
}

void span_scan(const struct method_scan *scan, const struct method_args *args)
{
	float *vectors[INPUTS_MOST];
	struct gram_rows rows = find_vectors(vectors, scan->in, scan->n, args);

	gram_add_lanes(scan->part, &rows, span_vectors(args));
}

void span_fold(void *sum, const void *part, unsigned pass, const void *facts,
	       const struct method_args *args)
{
	const struct gram_lanes *lanes = part;
	double *gram = sum;
	(void)pass;
	(void)facts;

	for (size_t i = 0; i < gram_count(span_vectors(args)); i++)
		gram[i] += gram_fold(&lanes[i]);
}

unsigned span_settle(void *facts, unsigned pass, const void *sum,
		     const struct method_args *args)
{
	const struct span_traits *traits = args->traits;
	unsigned n = span_vectors(args);
	double *coefs = facts;
	(void)pass;

	memcpy(coefs + n, sum, gram_count(n) * sizeof(double));
	traits->solve(coefs, coefs + n, n, args);
	plain_doubles(coefs, n + gram_count(n));
	return 0;
}

/* First lengths, then angles between the vectors, then coefficients. */
bool span_tell(struct method_fact *ret, unsigned i, const void *facts,
	       const struct method_args *args)
{
	unsigned n = span_vectors(args);
	const double *coefs = facts, *gram = coefs + n;
	unsigned n_angles = (unsigned)gram_count(n) - n;

	if (i < n) {
		*ret = (struct method_fact){
			.name = span_from_base(args) ? "length of task vector"
						     : "length",
			.input = (int)span_input(args, i),
			.value = sqrt(gram[gram_index(n, i, i)]),
		};
		return true;
	}
	i -= n;
	if (i < n) {
		*ret = (struct method_fact){
			.name = "coefficient",
			.input = (int)span_input(args, i),
			.value = coefs[i],
		};
		return true;
	}
	i -= n;
	if (i >= n_angles)
		return false;
	unsigned row = 0;
	for (; i >= n - row - 1; row++)
		i -= n - row - 1;
	unsigned other = row + 1 + i;
	double cosine = gram[gram_index(n, row, other)] /
			sqrt(gram[gram_index(n, row, row)] *
			     gram[gram_index(n, other, other)]);
	*ret = (struct method_fact){
		.name = row == 0 && other == 1
				? "angle of the first two, degrees"
				: "angle of a pair, degrees",
		.input = -1,
		.value = angle_acos(fmax(-1, fmin(1, cosine))) * 180 / M_PI,
	};
	return true;
}

static bool cancels(const double *coefs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (fabs(coefs[i]) > CANCEL)
			return true;
	return false;
}

EITHER_KIND void add_wide_of(double *restrict sum, const float *restrict x,
			     const float *restrict base, double coef, size_t n,
			     bool halves)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += coef * row_less(x, base, i, halves);
}

static void add_wide(double *restrict sum, const float *x, const float *base,
		     double coef, size_t n, bool halves)
{
	if (halves && base)
		add_wide_of(sum, x, base, coef, n, true);
	else if (halves)
		add_wide_of(sum, x, NULL, coef, n, true);
	else if (base)
		add_wide_of(sum, x, base, coef, n, false);
	else
		add_wide_of(sum, x, NULL, coef, n, false);
}

/* The same sum in f64, rounded once. */
static void combine_wide(float *restrict out, const struct gram_rows *rows,
			 unsigned n_vectors, const double *coefs)
{
	bool halves = rows->halves;

	for (size_t at = 0; at < rows->n; at += CHUNK) {
		size_t now = rows->n - at < CHUNK ? rows->n - at : CHUNK;
		const float *base =
			rows->base ? row_from(rows->base, at, halves) : NULL;
		double sum[CHUNK] = {};

		if (base)
			add_wide(sum, base, NULL, 1, now, halves);
		for (unsigned i = 0; i < n_vectors; i++)
			add_wide(sum, row_from(rows->in[i], at, halves), base,
				 coefs[i], now, halves);
		for (size_t i = 0; i < now; i++)
			out[at + i] = (float)sum[i];
	}
}

/* Onto the base where there is one; out may be no vector. */
static void combine(float *restrict out, const struct gram_rows *rows,
		    unsigned n_vectors, const double *coefs)
{
	if (cancels(coefs, n_vectors))
		combine_wide(out, rows, n_vectors, coefs);
	else
		row_combine(out, rows->base, rows->in, coefs, n_vectors,
			    rows->n, rows->halves);
}

/* Every row with coefficients of its own, floats all. Moves vectors on. */
static void combine_rows(float *out, float **vectors, struct gram_rows rows,
			 const struct method_args *args)
{
	const struct span_traits *traits = args->traits;
	unsigned n_vectors = span_vectors(args);
	double coefs[INPUTS_MOST], gram[GRAM_MOST];
	size_t n = rows.n;

	rows.n = args->row;
	for (size_t at = 0; at < n; at += args->row) {
		memset(gram, 0, gram_count(n_vectors) * sizeof(*gram));
		gram_add(gram, &rows, n_vectors);
		traits->solve(coefs, gram, n_vectors, args);
		combine(out + at, &rows, n_vectors, coefs);
		for (unsigned i = 0; i < n_vectors; i++)
			vectors[i] += args->row;
		if (rows.base)
			rows.base += args->row;
	}
}

void span_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts)
{
	unsigned n_vectors = span_vectors(args);
	float *vectors[INPUTS_MOST];
	struct gram_rows rows = find_vectors(vectors, in, n, args);
	(void)first;

	if (n_vectors == 0) {
		for (size_t i = 0; i < n; i++)
			out[i] = row_at(rows.base, i, rows.halves);
		return;
	}
	if (facts)
		combine(out, &rows, n_vectors, facts);
	else
		combine_rows(out, vectors, rows, args);
}
