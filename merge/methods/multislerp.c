/*
 * Spherical mean of several vectors: the direction of the weighted sum of their
 * unit vectors, with the weighted mean of their lengths. In exact arithmetic
 * the step along the tangent space that other programs add is zero.
 */
#include <errno.h>
#include <math.h>

#include "merge/kernels/gram.h"
#include "merge/methods/span.h"
#include "util/error.h"

enum {
	WEIGHT,
	NORMALIZE_WEIGHTS,
	EPS,
};

static const struct method_param params[] = {
	[WEIGHT] = {.name = "weight",
		    .summary = "share of this model",
		    .per_model = true,
		    .required = true},
	[NORMALIZE_WEIGHTS] = {.name = "normalize_weights",
			       .summary = "divide the weights by their sum",
			       .type = PARAM_BOOL,
			       .value = 1},
	[EPS] = {.name = "eps",
		 .summary = "added to lengths, against dividing by zero",
		 .value = 1e-8,
		 .min = 0,
		 .max = 1},
	{},
};

static double sum_weights(const struct method_args *args)
{
	double sum = 0;

	for (unsigned i = 0; i < span_vectors(args); i++)
		sum += arg_of(args, WEIGHT, span_input(args, i));
	return sum;
}

static int multislerp_check(const struct method_args *args, struct error *err)
{
	if (span_vectors(args) < 2 || !arg_shared(args, NORMALIZE_WEIGHTS) ||
	    fabs(sum_weights(args)) > 1e-9)
		return 0;
	return error_set(err, -EINVAL,
			 "the weights sum to zero and cannot be normalized; "
			 "change one, or set normalize_weights: false");
}

/* One vector is its own mean. */
static int multislerp_copies(const struct method_args *args)
{
	return span_vectors(args) == 1 ? (int)span_input(args, 0) : -1;
}

static void solve(double *coefs, const double *gram, unsigned n,
		  const struct method_args *args)
{
	double eps = arg_shared(args, EPS);
	double total =
		arg_shared(args, NORMALIZE_WEIGHTS) ? sum_weights(args) : 1;
	double weights[INPUTS_MOST], size = 0, square = 0;
	if (n == 1) {
		coefs[0] = 1;
		return;
	}

	for (unsigned i = 0; i < n; i++) {
		double length = sqrt(gram[gram_index(n, i, i)]);

		weights[i] = arg_of(args, WEIGHT, span_input(args, i)) / total;
		size += weights[i] * length;
		coefs[i] = weights[i] / (length + eps);
	}
	for (unsigned i = 0; i < n; i++) {
		square += coefs[i] * coefs[i] * gram[gram_index(n, i, i)];
		for (unsigned j = i + 1; j < n; j++)
			square += 2 * coefs[i] * coefs[j] *
				  gram[gram_index(n, i, j)];
	}
	double length = sqrt(square < 0 ? 0 : square);
	bool no_direction = length < eps || length == 0;

	for (unsigned i = 0; i < n; i++)
		coefs[i] = no_direction ? weights[i] : size * coefs[i] / length;
}

static const struct span_traits traits = {
	.from_base = true,
	.solve = solve,
};

const struct method ISA_NAME(method_multislerp) = {
	.name = "multislerp",
	.title = "Multi-SLERP",
	.url = "https://goddard.blog/posts/multislerp-wow-what-a-cool-idea",
	.summary = "spherical mean of several models, or of their task vectors",
	.formula = "(base +) (sum w_i |x_i|) m / |m|, m = sum w_i x_i / |x_i|; "
		   "x_i task vectors where there is a base",
	.base = BASE_OPTIONAL,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	.check = multislerp_check,
	.copies = multislerp_copies,
	SPAN_FUNCTIONS,
};
