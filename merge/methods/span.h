/*
 * Methods whose result lies in the span of their inputs: one pass gives the
 * Gram matrix, small arithmetic on it gives coefficients, and the result is the
 * sum of the vectors with these coefficients.
 *
 * The vectors are the inputs, or, for from_base where there is a base, the task
 * vectors of the others, whose sum is added to the base.
 */
#ifndef MERGE_METHODS_SPAN_H
#define MERGE_METHODS_SPAN_H

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"

#define span_facts_size ISA_NAME(span_facts_size)
#define span_sizes ISA_NAME(span_sizes)
#define span_scan ISA_NAME(span_scan)
#define span_fold ISA_NAME(span_fold)
#define span_settle ISA_NAME(span_settle)
#define span_tell ISA_NAME(span_tell)
#define span_blend ISA_NAME(span_blend)

struct span_traits {
	bool from_base;
	/* coefs: (n,), gram: of the n vectors, see gram.h. */
	void (*solve)(double *coefs, const double *gram, unsigned n,
		      const struct method_args *args);
	/* Optional: is every row a vector of its own? Then by_rows, too. */
	bool (*by_rows)(const struct method_args *args);
};

/* Is the base subtracted from the other inputs? */
static inline bool span_from_base(const struct method_args *args)
{
	const struct span_traits *traits = args->traits;

	return traits->from_base && args->base >= 0;
}

static inline unsigned span_vectors(const struct method_args *args)
{
	return args->n_inputs - span_from_base(args);
}

/* The input that vector i is, or comes from. */
static inline unsigned span_input(const struct method_args *args, unsigned i)
{
	return i + (span_from_base(args) && i >= (unsigned)args->base);
}

/* For struct method. */
size_t span_facts_size(const struct method_args *args);
struct method_sizes span_sizes(unsigned pass, const struct method_args *args);
void span_scan(const struct method_scan *scan, const struct method_args *args);
void span_fold(void *sum, const void *part, unsigned pass, const void *facts,
	       const struct method_args *args);
unsigned span_settle(void *facts, unsigned pass, const void *sum,
		     const struct method_args *args);
bool span_tell(struct method_fact *ret, unsigned i, const void *facts,
	       const struct method_args *args);
void span_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts);

#define SPAN_FUNCTIONS                                                         \
	.facts_size = span_facts_size, .sizes = span_sizes, .scan = span_scan, \
	.fold = span_fold, .settle = span_settle, .tell = span_tell,           \
	.takes_halves = method_takes_halves, .blend = span_blend

#endif
