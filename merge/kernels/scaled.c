#include "merge/kernels/product.h"

static inline void add_row(float *restrict out, const float *restrict x,
			   float scale, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float scaled = x[i] * scale;

		out[i] = out[i] + scaled;
	}
}

/* Most rows are as long as a panel, and a known length needs no loop. */
void ISA_NAME(add_sums)(float *restrict values, const float *restrict sums,
			const struct product *product, size_t n_rows, size_t n)
{
	for (size_t i = 0; i < n_rows; i++) {
		float *out = values + i * product->step;

		if (n == PANEL)
			add_row(out, sums + i * PANEL, product->scale, PANEL);
		else
			add_row(out, sums + i * PANEL, product->scale, n);
	}
}
