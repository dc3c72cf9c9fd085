#include "merge/kernels/half.h"
#include "merge/kernels/isa.h"
#include "merge/methods/method.h"

enum {
	SCALE,
};

static const struct method_param params[] = {
	[SCALE] = {.name = "scale",
		   .summary = "factor of the tensor",
		   .per_model = true,
		   .value = 1},
	{},
};

static int passthrough_copies(const struct method_args *args)
{
	return (float)arg_of(args, SCALE, 0) == 1 ? 0 : -1;
}

EITHER_KIND void scale_row(float *restrict out, const float *restrict x,
			   float scale, size_t n, bool halves)
{
	for (size_t i = 0; i < n; i++)
		out[i] = row_at(x, i, halves) * scale;
}

static void passthrough_blend(float *out, float *const *in, uint64_t first,
			      size_t n, const struct method_args *args,
			      const void *facts)
{
	float scale = (float)arg_of(args, SCALE, 0);
	(void)first;
	(void)facts;

	if (args->halves)
		scale_row(out, in[0], scale, n, true);
	else
		scale_row(out, in[0], scale, n, false);
}

const struct method ISA_NAME(method_passthrough) = {
	.name = "passthrough",
	.title = "Passthrough",
	.summary = "tensors of one model as they are, or scaled",
	.formula = "scale x",
	.min_inputs = 1,
	.max_inputs = 1,
	.params = params,
	.copies = passthrough_copies,
	.takes_halves = method_takes_halves,
	.blend = passthrough_blend,
};
