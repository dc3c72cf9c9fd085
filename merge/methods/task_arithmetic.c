#include <math.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
#include "merge/methods/method.h"

enum {
	WEIGHT,
	DENSITY,
	NORMALIZE,
	RESCALE,
	LAMBDA,
	INT8_MASK,
};

static const struct method_param params[] = {
	[WEIGHT] = {.name = "weight",
		    .summary = "factor of this model's task vector",
		    .per_model = true,
		    .required = true},
	[DENSITY] = {.name = "density",
		     .summary = "without effect in this method",
		     .per_model = true,
		     .value = 1},
	[NORMALIZE] = {.name = "normalize",
		       .summary = "divide by the sum of the weights",
		       .type = PARAM_BOOL},
	[RESCALE] = {.name = "rescale",
		     .summary = "without effect in this method",
		     .type = PARAM_BOOL},
	[LAMBDA] = {.name = "lambda",
		    .summary = "factor of the sum of task vectors",
		    .value = 1},
	[INT8_MASK] = {.name = "int8_mask",
		       .summary = "without effect on the result",
		       .type = PARAM_BOOL},
	{},
};

static void set_delta(float *restrict out, const float *restrict x,
		      const float *restrict base, float weight, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (x[i] - base[i]) * weight;
}

static void add_delta(float *restrict out, const float *restrict x,
		      const float *restrict base, float weight, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] += (x[i] - base[i]) * weight;
}

static void add_base(float *restrict out, const float *restrict base, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = base[i] + out[i];
}

/* Returns the sum of the weights. */
static float sum_deltas(float *out, const float *const *in, size_t n,
			const struct method_args *args)
{
	unsigned base = (unsigned)args->base;
	bool empty = true;
	float sum = 0;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		float weight = (float)arg_of(args, WEIGHT, i);
		if (i == base)
			continue;

		if (empty)
			set_delta(out, in[i], in[base], weight, n);
		else
			add_delta(out, in[i], in[base], weight, n);
		empty = false;
		sum += weight;
	}
	return sum;
}

static int task_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? args->base : -1;
}

static void task_blend(float *out, const float *const *in, uint64_t first,
		       size_t n, const struct method_args *args,
		       const void *facts)
{
	float lambda = (float)arg_shared(args, LAMBDA);
	(void)first;
	(void)facts;

	if (args->n_inputs == 1) {
		memcpy(out, in[0], n * sizeof(*out));
		return;
	}

	float sum = sum_deltas(out, in, n, args);
	if (arg_shared(args, NORMALIZE) && !(fabsf(sum) < 1e-8f))
		row_divide(out, sum, n);
	if (lambda != 1)
		row_multiply(out, lambda, n);
	add_base(out, in[args->base], n);
}

const struct method ISA_NAME(method_task_arithmetic) = {
	.name = "task_arithmetic",
	.title = "Task Arithmetic",
	.url = "https://arxiv.org/abs/2212.04089",
	.summary = "base plus the weighted sum of task vectors",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.copies = task_copies,
	.blend = task_blend,
};
