#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
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

static void passthrough_blend(float *out, float *const *in, uint64_t first,
			      size_t n, const struct method_args *args,
			      const void *facts)
{
	(void)first;
	(void)facts;

	memcpy(out, in[0], n * sizeof(*out));
	row_multiply(out, (float)arg_of(args, SCALE, 0), n);
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
	.blend = passthrough_blend,
};
