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

void span_make_vectors(float **vectors, float *const *in, size_t n,
		       const struct method_args *args)
{
	bool from_base = span_from_base(args);

	for (unsigned i = 0; i < span_vectors(args); i++) {
		vectors[i] = in[span_input(args, i)];
		if (from_base)
			row_subtract(vectors[i], in[args->base], n);
	}
}

void span_scan(const struct method_scan *scan, const struct method_args *args)
{
	float *vectors[INPUTS_MOST];

	span_make_vectors(vectors, scan->in, scan->n, args);
	gram_add_lanes(scan->part, vectors, span_vectors(args), scan->n);
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

static void add_wide(double *restrict sum, const float *restrict x, double coef,
		     size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += coef * x[i];
}

/* The same sum in f64, rounded once. */
static void combine_wide(float *restrict out, float *const *vectors,
			 unsigned n_vectors, const float *base, size_t n,
			 const double *coefs)
{
	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;
		double sum[CHUNK] = {};

		if (base)
			add_wide(sum, base + at, 1, now);
		for (unsigned i = 0; i < n_vectors; i++)
			add_wide(sum, vectors[i] + at, coefs[i], now);
		for (size_t i = 0; i < now; i++)
			out[at + i] = (float)sum[i];
	}
}

/* base: what the sum is added to, or NULL; out may be no vector. */
static void combine(float *restrict out, float *const *vectors,
		    unsigned n_vectors, const float *base, size_t n,
		    const double *coefs)
{
	if (cancels(coefs, n_vectors))
		combine_wide(out, vectors, n_vectors, base, n, coefs);
	else
		row_combine(out, base, vectors, coefs, n_vectors, n);
}

/* Every row with coefficients of its own. Moves the vectors on. */
static void combine_rows(float *out, float **vectors, const float *base,
			 size_t n, const struct method_args *args)
{
	const struct span_traits *traits = args->traits;
	unsigned n_vectors = span_vectors(args);
	double coefs[INPUTS_MOST], gram[GRAM_MOST];

	for (size_t at = 0; at < n; at += args->row) {
		memset(gram, 0, gram_count(n_vectors) * sizeof(*gram));
		gram_add(gram, vectors, n_vectors, args->row);
		traits->solve(coefs, gram, n_vectors, args);
		combine(out + at, vectors, n_vectors, base ? base + at : NULL,
			args->row, coefs);
		for (unsigned i = 0; i < n_vectors; i++)
			vectors[i] += args->row;
	}
}

void span_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts)
{
	const float *base = span_from_base(args) ? in[args->base] : NULL;
	unsigned n_vectors = span_vectors(args);
	float *vectors[INPUTS_MOST];
	(void)first;

	if (n_vectors == 0) {
		memcpy(out, base, n * sizeof(*out));
		return;
	}
	span_make_vectors(vectors, in, n, args);
	if (facts)
		combine(out, vectors, n_vectors, base, n, facts);
	else
		combine_rows(out, vectors, base, n, args);
}
