/*
 * Spherical interpolation of two tensors, each taken as one long vector:
 * lengths and angle come from their Gram matrix, and the result is a sum of
 * the two with two coefficients.
 */
#include <math.h>
#include <stdbool.h>

#include "merge/kernels/angle.h"
#include "merge/kernels/fused.h"
#include "merge/kernels/gram.h"
#include "merge/kernels/isa.h"
#include "merge/methods/method.h"

/* Closer to parallel than this, the sum is linear. */
#define PARALLEL 0.9995

/* A shorter vector is not divided by its length. */
#define SHORT 1e-8

enum {
	T,
};

static const struct method_param params[] = {
	[T] = {.name = "t",
	       .summary = "0 is the base, 1 the other model",
	       .required = true},
	{},
};

struct slerp_facts {
	double gram[3];		  /* of the inputs in their order */
	double of_base, of_other; /* coefficients */
};

static int slerp_copies(const struct method_args *args)
{
	double t = arg_shared(args, T);

	if (t == 0)
		return args->base;
	return t == 1 ? 1 - args->base : -1;
}

static size_t slerp_facts_size(const struct method_args *args)
{
	(void)args;

	return sizeof(struct slerp_facts);
}

static void slerp_scan(void *part, unsigned pass, const void *facts,
		       const float *const *in, uint64_t first, size_t n,
		       const struct method_args *args)
{
	struct slerp_facts *own = part;
	(void)pass;
	(void)facts;
	(void)first;

	gram_add(own->gram, in, args->n_inputs, n);
}

static void slerp_fold(void *facts, unsigned pass, const void *part,
		       const struct method_args *args)
{
	struct slerp_facts *all = facts;
	const struct slerp_facts *more = part;
	(void)pass;
	(void)args;

	for (int i = 0; i < 3; i++)
		all->gram[i] += more->gram[i];
}

static double length(double square)
{
	double root = sqrt(square);

	return root > SHORT ? root : 1;
}

/* The one NaN: facts are compared and kept as bytes. */
static double plain(double value)
{
	return isnan(value) ? (double)NAN : value;
}

static void slerp_settle(void *facts, unsigned pass,
			 const struct method_args *args)
{
	struct slerp_facts *own = facts;
	double t = arg_shared(args, T);
	(void)pass;

	double cosine = own->gram[gram_index(2, 0, 1)] /
			length(own->gram[gram_index(2, 0, 0)]) /
			length(own->gram[gram_index(2, 1, 1)]);
	if (fabs(cosine) > PARALLEL) {
		own->of_base = 1 - t;
		own->of_other = t;
	} else {
		double angle = angle_acos(cosine);
		double sine = angle_sin(angle);

		own->of_base = plain(angle_sin((1 - t) * angle) / sine);
		own->of_other = plain(angle_sin(t * angle) / sine);
	}
	for (int i = 0; i < 3; i++)
		own->gram[i] = plain(own->gram[i]);
}

static void slerp_blend(float *restrict out, const float *const *in,
			uint64_t first, size_t n,
			const struct method_args *args, const void *facts)
{
	const struct slerp_facts *own = facts;
	const float *restrict base = in[args->base];
	const float *restrict other = in[1 - args->base];
	float of_base = (float)own->of_base;
	float of_other = (float)own->of_other;
	(void)first;

	for (size_t i = 0; i < n; i++)
		out[i] = fused(other[i], of_other, base[i] * of_base);
}

const struct method ISA_NAME(method_slerp) = {
	.name = "slerp",
	.title = "SLERP",
	.url = "https://en.wikipedia.org/wiki/Slerp",
	.summary = "spherical interpolation between two models",
	.base = BASE_REQUIRED,
	.min_inputs = 2,
	.max_inputs = 2,
	.params = params,
	.copies = slerp_copies,
	.n_passes = 1,
	.facts_size = slerp_facts_size,
	.scan = slerp_scan,
	.fold = slerp_fold,
	.settle = slerp_settle,
	.blend = slerp_blend,
};
