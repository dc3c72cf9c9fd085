#include "merge/kernels/isa.h"
#include "merge/methods/contributions.h"

enum {
	EPSILON,
};

static const struct method_param params[] = {
	[EPSILON] = {.name = "epsilon",
		     .summary = "larger elements of a task vector contribute",
		     .value = 1e-5,
		     .min = 0,
		     .max = 1e30},
	{},
};

static int ram_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? args->base : -1;
}

static void ram_blend(float *out, float *const *in, uint64_t first, size_t n,
		      const struct method_args *args, const void *facts)
{
	float factors[INPUTS_MOST];
	(void)first;
	(void)facts;

	for (unsigned i = 0; i < args->n_inputs; i++)
		factors[i] = 1;
	blend_contributions(out, in, n, (float)arg_shared(args, EPSILON),
			    factors, args);
}

const struct method ISA_NAME(method_ram) = {
	.name = "ram",
	.title = "Reinforced Agent Merging",
	.url = "https://arxiv.org/abs/2601.13572",
	.summary = "what one model alone has learnt in full, shared changes as "
		   "their mean",
	.formula = "base + mean of the task vectors' elements that are larger "
		   "than epsilon",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.copies = ram_copies,
	.takes_halves = contributions_take_halves,
	.blend = ram_blend,
};
