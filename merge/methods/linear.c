#include <errno.h>
#include <math.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
#include "merge/methods/method.h"
#include "util/error.h"

enum {
	WEIGHT,
	NORMALIZE,
};

static const struct method_param params[] = {
	[WEIGHT] = {.name = "weight",
		    .summary = "factor of this model",
		    .per_model = true,
		    .required = true},
	[NORMALIZE] = {.name = "normalize",
		       .summary = "divide by the sum of the weights",
		       .type = PARAM_BOOL,
		       .value = 1},
	{},
};

/* Dividing by a power of two undoes the product exactly; by others nearly. */
static int linear_copies(const struct method_args *args)
{
	float weight = (float)arg_of(args, WEIGHT, 0);
	int exponent;
	if (args->n_inputs != 1)
		return -1;
	if (weight == 1)
		return 0;
	if (!arg_shared(args, NORMALIZE))
		return -1;
	return frexpf(fabsf(weight), &exponent) == 0.5f ? 0 : -1;
}

static float weight_of(const struct method_args *args, unsigned input)
{
	return (float)arg_of(args, WEIGHT, input);
}

static float sum_weights(const struct method_args *args)
{
	float sum = 0;

	for (unsigned i = 0; i < args->n_inputs; i++)
		sum += weight_of(args, i);
	return sum;
}

static int linear_check(const struct method_args *args, struct error *err)
{
	if (!arg_shared(args, NORMALIZE) || sum_weights(args) != 0)
		return 0;
	return error_set(err, -EINVAL,
			 "the weights sum to zero, so dividing by their sum "
			 "makes no sense; set normalize: false or other "
			 "weights");
}

static void linear_blend(float *out, float *const *in, uint64_t first, size_t n,
			 const struct method_args *args, const void *facts)
{
	(void)first;
	(void)facts;

	row_combine(out, NULL, in, args_of(args, WEIGHT), args->n_inputs, n,
		    args->halves);
	if (arg_shared(args, NORMALIZE))
		row_divide(out, sum_weights(args), n);
}

const struct method ISA_NAME(method_linear) = {
	.name = "linear",
	.title = "Linear",
	.url = "https://arxiv.org/abs/2203.05482",
	.summary = "weighted sum or mean of the models",
	.formula = "sum w_i x_i (/ sum w_i)",
	.min_inputs = 1,
	.params = params,
	.check = linear_check,
	.copies = linear_copies,
	.takes_halves = method_takes_halves,
	.blend = linear_blend,
};
