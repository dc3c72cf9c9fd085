#include "merge/kernels/gram.h"

#include <string.h>

#include "merge/kernels/vector.h"

/*
 * Compilers do not keep lanes in registers when they are an array of doubles;
 * as vectors of the width of a register (VECTOR, from the build) they do.
 */
#define LANES 16
#define N_VECTORS (LANES / VECTOR)

struct lanes {
	vector part[N_VECTORS];
};

static double fold(const struct lanes *lanes)
{
	double sum[LANES];

	memcpy(sum, lanes->part, sizeof(sum));
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			sum[i] += sum[i + width];
	return sum[0];
}

static inline void step_dot(struct lanes *xy, const float *x, const float *y)
{
	for (int i = 0; i < N_VECTORS; i++)
		xy->part[i] += widen(x + i * VECTOR) * widen(y + i * VECTOR);
}

/* The lanes past the end of the rows get nothing. */
static double dot(const float *x, const float *y, size_t n)
{
	struct lanes xy = {};
	size_t at = 0;

	for (; at + LANES <= n; at += LANES)
		step_dot(&xy, x + at, y + at);
	if (at < n) {
		float x_end[LANES] = {}, y_end[LANES] = {};

		memcpy(x_end, x + at, (n - at) * sizeof(*x));
		memcpy(y_end, y + at, (n - at) * sizeof(*y));
		step_dot(&xy, x_end, y_end);
	}
	return fold(&xy);
}

static inline void step_pair(struct lanes *xx, struct lanes *xy,
			     struct lanes *yy, const float *x, const float *y)
{
	for (int i = 0; i < N_VECTORS; i++) {
		vector wide_x = widen(x + i * VECTOR);
		vector wide_y = widen(y + i * VECTOR);

		xx->part[i] += wide_x * wide_x;
		xy->part[i] += wide_x * wide_y;
		yy->part[i] += wide_y * wide_y;
	}
}

/* The three dot products of two rows, each the same as dot() gives. */
static void pair(const float *x, const float *y, size_t n, double *xx_sum,
		 double *xy_sum, double *yy_sum)
{
	struct lanes xx = {}, xy = {}, yy = {};
	size_t at = 0;

	for (; at + LANES <= n; at += LANES)
		step_pair(&xx, &xy, &yy, x + at, y + at);
	if (at < n) {
		float x_end[LANES] = {}, y_end[LANES] = {};

		memcpy(x_end, x + at, (n - at) * sizeof(*x));
		memcpy(y_end, y + at, (n - at) * sizeof(*y));
		step_pair(&xx, &xy, &yy, x_end, y_end);
	}
	*xx_sum += fold(&xx);
	*xy_sum += fold(&xy);
	*yy_sum += fold(&yy);
}

void gram_add(double *gram, float *const *in, unsigned k, size_t n)
{
	for (unsigned i = 0; i < k; i += 2) {
		double *row = gram + gram_index(k, i, 0);
		if (i + 1 == k) {
			row[i] += dot(in[i], in[i], n);
			return;
		}

		double *next = gram + gram_index(k, i + 1, 0);
		pair(in[i], in[i + 1], n, &row[i], &row[i + 1], &next[i + 1]);
		for (unsigned j = i + 2; j < k; j++) {
			row[j] += dot(in[i], in[j], n);
			next[j] += dot(in[i + 1], in[j], n);
		}
	}
}
