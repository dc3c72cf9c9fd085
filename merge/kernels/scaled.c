#include "merge/kernels/product.h"

void ISA_NAME(add_scaled)(float *restrict out, const float *restrict x,
			  float scale, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float scaled = x[i] * scale;

		out[i] = out[i] + scaled;
	}
}
