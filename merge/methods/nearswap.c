#include <math.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"

enum {
	T,
};

static const struct method_param params[] = {
	[T] = {.name = "t",
	       .summary = "how far elements may be apart to be swapped",
	       .required = true},
	{},
};

static void nearswap_blend(float *restrict out, float *const *in,
			   uint64_t first, size_t n,
			   const struct method_args *args, const void *facts)
{
	const float *restrict base = in[args->base];
	const float *restrict other = in[1 - args->base];
	float t = (float)arg_shared(args, T);
	(void)first;
	(void)facts;

	for (size_t i = 0; i < n; i++) {
		float far = fabsf(base[i] - other[i]);
		float share = 1 / (far < 1e-6f ? 1e-6f : far) * t;

		share = share < 0 ? 0 : share > 1 ? 1 : share;
		out[i] = share * other[i] + (1 - share) * base[i];
	}
}

const struct method ISA_NAME(method_nearswap) = {
	.name = "nearswap",
	.title = "NearSwap",
	.url = "https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
	.summary = "the other model where it is near the base",
	.formula = "s other + (1 - s) base, s = t / |base - other|, at most 1",
	.base = BASE_REQUIRED,
	.min_inputs = 2,
	.max_inputs = 2,
	.params = params,
	.blend = nearswap_blend,
};
