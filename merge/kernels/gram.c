#include "merge/kernels/gram.h"

#include <stdbool.h>
#include <string.h>

#include "merge/kernels/vector.h"

/*
 * Compilers do not keep lanes in registers when they are an array of doubles;
 * as vectors of the width of a register (VECTOR, from the build) they do.
 */
#define N_VECTORS (GRAM_LANES / VECTOR)

struct lanes {
	vector part[N_VECTORS];
};

static inline struct lanes get(const struct gram_lanes *from)
{
	struct lanes lanes;

	memcpy(&lanes, from, sizeof(lanes));
	return lanes;
}

static inline void put(struct gram_lanes *to, struct lanes lanes)
{
	memcpy(to, &lanes, sizeof(lanes));
}

double gram_fold(const struct gram_lanes *lanes)
{
	double sum[GRAM_LANES];

	memcpy(sum, lanes->lane, sizeof(sum));
	for (int width = GRAM_LANES / 2; width > 0; width /= 2)
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
static void dot(struct gram_lanes *sum, const float *x, const float *y,
		size_t n)
{
	struct lanes xy = get(sum);
	size_t at = 0;

	for (; at + GRAM_LANES <= n; at += GRAM_LANES)
		step_dot(&xy, x + at, y + at);
	if (at < n) {
		float x_end[GRAM_LANES] = {}, y_end[GRAM_LANES] = {};

		memcpy(x_end, x + at, (n - at) * sizeof(*x));
		memcpy(y_end, y + at, (n - at) * sizeof(*y));
		step_dot(&xy, x_end, y_end);
	}
	put(sum, xy);
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
static void pair(struct gram_lanes *xx_sum, struct gram_lanes *xy_sum,
		 struct gram_lanes *yy_sum, const float *x, const float *y,
		 size_t n)
{
	struct lanes xx = get(xx_sum), xy = get(xy_sum), yy = get(yy_sum);
	size_t at = 0;

	for (; at + GRAM_LANES <= n; at += GRAM_LANES)
		step_pair(&xx, &xy, &yy, x + at, y + at);
	if (at < n) {
		float x_end[GRAM_LANES] = {}, y_end[GRAM_LANES] = {};

		memcpy(x_end, x + at, (n - at) * sizeof(*x));
		memcpy(y_end, y + at, (n - at) * sizeof(*y));
		step_pair(&xx, &xy, &yy, x_end, y_end);
	}
	put(xx_sum, xx);
	put(xy_sum, xy);
	put(yy_sum, yy);
}

void gram_add_lanes(struct gram_lanes *lanes, float *const *in, unsigned k,
		    size_t n)
{
	for (unsigned i = 0; i < k; i += 2) {
		struct gram_lanes *row = lanes + gram_index(k, i, 0);
		if (i + 1 == k) {
			dot(&row[i], in[i], in[i], n);
			return;
		}

		struct gram_lanes *next = lanes + gram_index(k, i + 1, 0);
		pair(&row[i], &row[i + 1], &next[i + 1], in[i], in[i + 1], n);
		for (unsigned j = i + 2; j < k; j++) {
			dot(&row[j], in[i], in[j], n);
			dot(&next[j], in[i + 1], in[j], n);
		}
	}
}

static double folded_dot(const float *x, const float *y, size_t n)
{
	struct gram_lanes lanes = {};

	dot(&lanes, x, y, n);
	return gram_fold(&lanes);
}

void gram_add(double *gram, float *const *in, unsigned k, size_t n)
{
	for (unsigned i = 0; i < k; i += 2) {
		struct gram_lanes own[3] = {};
		double *row = gram + gram_index(k, i, 0);
		bool two = i + 1 < k;

		gram_add_lanes(own, in + i, two ? 2 : 1, n);
		row[i] += gram_fold(&own[0]);
		if (!two)
			return;

		double *next = gram + gram_index(k, i + 1, 0);
		row[i + 1] += gram_fold(&own[1]);
		next[i + 1] += gram_fold(&own[2]);
		for (unsigned j = i + 2; j < k; j++) {
			row[j] += folded_dot(in[i], in[j], n);
			next[j] += folded_dot(in[i + 1], in[j], n);
		}
	}
}
