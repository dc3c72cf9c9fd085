#include <math.h>

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
#include "merge/methods/method.h"

/* Elements that are nearer to each other count as so far apart. */
#define NEAREST 1e-6f

enum {
	T,
};

static const struct method_param params[] = {
	[T] = {.name = "t",
	       .summary = "how far elements may be apart to be swapped",
	       .required = true},
	{},
};

EITHER_KIND void swap_near(float *restrict out, const float *restrict base,
			   const float *restrict other, float t, size_t n,
			   bool halves)
{
	for (size_t i = 0; i < n; i++) {
		float b = row_at(base, i, halves), o = row_at(other, i, halves);
		float far = fabsf(b - o);
		float share =
			1 / pick(far < NEAREST ? ~0u : 0, NEAREST, far) * t;

		share = pick(share > 1 ? ~0u : 0, 1, share);
		share = pick(share < 0 ? ~0u : 0, 0, share);
		out[i] = share * o + (1 - share) * b;
	}
}

static void nearswap_blend(float *out, float *const *in, uint64_t first,
			   size_t n, const struct method_args *args,
			   const void *facts)
{
	const float *base = in[args->base], *other = in[1 - args->base];
	float t = (float)arg_shared(args, T);
	(void)first;
	(void)facts;

	if (args->halves)
		swap_near(out, base, other, t, n, true);
	else
		swap_near(out, base, other, t, n, false);
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
	.takes_halves = method_takes_halves,
	.blend = nearswap_blend,
};
