/*
 * Spherical interpolation of two tensors, each taken as one long vector.
 */
#include <math.h>

#include "merge/kernels/angle.h"
#include "merge/kernels/gram.h"
#include "merge/methods/span.h"

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

static int slerp_copies(const struct method_args *args)
{
	double t = arg_shared(args, T);

	if (t == 0)
		return args->base;
	return t == 1 ? 1 - args->base : -1;
}

static double length(double square)
{
	double root = sqrt(square);

	return root > SHORT ? root : 1;
}

static void solve(double *coefs, const double *gram, unsigned n,
		  const struct method_args *args)
{
	double t = arg_shared(args, T);
	double *of_base = &coefs[args->base],
	       *of_other = &coefs[1 - args->base];

	double cosine = gram[gram_index(n, 0, 1)] /
			length(gram[gram_index(n, 0, 0)]) /
			length(gram[gram_index(n, 1, 1)]);
	if (fabs(cosine) > PARALLEL) {
		*of_base = 1 - t;
		*of_other = t;
		return;
	}
	double angle = angle_acos(cosine);
	double sine = angle_sin(angle);

	*of_base = angle_sin((1 - t) * angle) / sine;
	*of_other = angle_sin(t * angle) / sine;
}

static const struct span_traits traits = {
	.solve = solve,
};

const struct method ISA_NAME(method_slerp) = {
	.name = "slerp",
	.title = "SLERP",
	.url = "https://en.wikipedia.org/wiki/Slerp",
	.summary = "spherical interpolation between two models",
	.formula = "sin((1-t) a) / sin a * base + sin(t a) / sin a * other, a "
		   "the angle between them; linear where they are nearly "
		   "parallel",
	.base = BASE_REQUIRED,
	.min_inputs = 2,
	.max_inputs = 2,
	.params = params,
	.traits = &traits,
	.copies = slerp_copies,
	SPAN_FUNCTIONS,
};
