#include "merge/kernels/variance.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "merge/kernels/vector.h"
#include "merge/methods/method.h"

/* What sums over the rows are divided by. */
struct divisor {
	double value, inverse;
	bool inverts; /* a power of two: dividing is multiplying, only slower */
};

static struct divisor find_divisor(unsigned n_rows)
{
	int exponent;

	return (struct divisor){
		.value = n_rows,
		.inverse = 1 / (double)n_rows,
		.inverts = frexp(n_rows, &exponent) == 0.5,
	};
}

static inline vector divide(vector x, const struct divisor *by)
{
	return by->inverts ? x * by->inverse : x / by->value;
}

#define WIDTH (4 * VECTOR) /* elements that are worked on in registers */

static inline void variance_at(float *out, const float *const *x,
			       unsigned n_rows, size_t at,
			       const struct divisor *by)
{
	vector mean[4] = {}, sum[4] = {};

	for (unsigned i = 0; i < n_rows; i++)
		for (int s = 0; s < 4; s++)
			mean[s] += widen(x[i] + at + s * VECTOR);
	for (int s = 0; s < 4; s++)
		mean[s] = divide(mean[s], by);
	for (unsigned i = 0; i < n_rows; i++)
		for (int s = 0; s < 4; s++) {
			vector off = widen(x[i] + at + s * VECTOR) - mean[s];
			sum[s] += off * off;
		}
	for (int s = 0; s < 4; s++) {
		vector variance = divide(sum[s], by);
		for (int i = 0; i < VECTOR; i++)
			out[s * VECTOR + i] = (float)variance[i];
	}
}

static void variance_of_many(float *out, float *const *rows, unsigned n_rows,
			     size_t n)
{
	float ends[INPUTS_MOST][WIDTH], last[WIDTH];
	const float *x[INPUTS_MOST];
	struct divisor by = find_divisor(n_rows);
	size_t at = 0;

	for (unsigned i = 0; i < n_rows; i++)
		x[i] = rows[i];
	for (; at + WIDTH <= n; at += WIDTH)
		variance_at(out + at, x, n_rows, at, &by);
	if (at == n)
		return;
	for (unsigned i = 0; i < n_rows; i++) {
		memset(ends[i], 0, sizeof(ends[i]));
		memcpy(ends[i], x[i] + at, (n - at) * sizeof(float));
		x[i] = ends[i];
	}
	variance_at(last, x, n_rows, 0, &by);
	memcpy(out + at, last, (n - at) * sizeof(float));
}

/* Both are half of their difference away from their mean. */
static void variance_of_two(float *restrict out, const float *restrict x,
			    const float *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double apart = (double)x[i] - (double)y[i];
		double nothing = apart - apart; /* or NaN */

		out[i] = (float)(apart * apart * 0.25 + nothing);
	}
}

void row_variance(float *restrict out, float *const *x, unsigned n_rows,
		  size_t n)
{
	if (n_rows == 2)
		variance_of_two(out, x[0], x[1], n);
	else
		variance_of_many(out, x, n_rows, n);
}
