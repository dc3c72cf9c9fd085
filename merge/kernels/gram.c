#include "merge/kernels/gram.h"

#include <string.h>

#include "merge/kernels/half.h"
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

/* VECTOR elements of a row from element i on, less those of the base. */
EITHER_KIND vector look(const float *x, const float *base, size_t i,
			bool halves)
{
	narrow values = load_row(x, i, halves);

	return widened(base ? values - load_row(base, i, halves) : values);
}

/* What is left at the end of rows, as floats; the rest is 0. */
EITHER_KIND void copy_end(float *end, const float *x, const float *base,
			  size_t at, size_t n, bool halves)
{
	memset(end, 0, GRAM_LANES * sizeof(*end));
	for (size_t i = 0; at + i < n; i++)
		end[i] = row_less(x, base, at + i, halves);
}

EITHER_KIND void step_dot(struct lanes *xy, const float *x, const float *y,
			  const float *base, size_t at, bool halves)
{
	for (int i = 0; i < N_VECTORS; i++)
		xy->part[i] += look(x, base, at + (size_t)i * VECTOR, halves) *
			       look(y, base, at + (size_t)i * VECTOR, halves);
}

/* The lanes past the end of the rows get nothing. */
EITHER_KIND void dot_of(struct gram_lanes *sum, const float *x, const float *y,
			const float *base, size_t n, bool halves)
{
	struct lanes xy = get(sum);
	size_t at = 0;

	for (; at + GRAM_LANES <= n; at += GRAM_LANES)
		step_dot(&xy, x, y, base, at, halves);
	if (at < n) {
		float x_end[GRAM_LANES], y_end[GRAM_LANES];

		copy_end(x_end, x, base, at, n, halves);
		copy_end(y_end, y, base, at, n, halves);
		step_dot(&xy, x_end, y_end, NULL, 0, false);
	}
	put(sum, xy);
}

EITHER_KIND void step_pair(struct lanes *xx, struct lanes *xy, struct lanes *yy,
			   const float *x, const float *y, const float *base,
			   size_t at, bool halves)
{
	for (int i = 0; i < N_VECTORS; i++) {
		vector wide_x = look(x, base, at + (size_t)i * VECTOR, halves);
		vector wide_y = look(y, base, at + (size_t)i * VECTOR, halves);

		xx->part[i] += wide_x * wide_x;
		xy->part[i] += wide_x * wide_y;
		yy->part[i] += wide_y * wide_y;
	}
}

/* The three dot products of two rows, each the same as dot_of() gives. */
EITHER_KIND void pair_of(struct gram_lanes *xx_sum, struct gram_lanes *xy_sum,
			 struct gram_lanes *yy_sum, const float *x,
			 const float *y, const float *base, size_t n,
			 bool halves)
{
	struct lanes xx = get(xx_sum), xy = get(xy_sum), yy = get(yy_sum);
	size_t at = 0;

	for (; at + GRAM_LANES <= n; at += GRAM_LANES)
		step_pair(&xx, &xy, &yy, x, y, base, at, halves);
	if (at < n) {
		float x_end[GRAM_LANES], y_end[GRAM_LANES];

		copy_end(x_end, x, base, at, n, halves);
		copy_end(y_end, y, base, at, n, halves);
		step_pair(&xx, &xy, &yy, x_end, y_end, NULL, 0, false);
	}
	put(xx_sum, xx);
	put(xy_sum, xy);
	put(yy_sum, yy);
}

/* Loops for each kind of rows, with a base and without. */
static void dot(struct gram_lanes *sum, const float *x, const float *y,
		const struct gram_rows *rows)
{
	if (rows->halves && rows->base)
		dot_of(sum, x, y, rows->base, rows->n, true);
	else if (rows->halves)
		dot_of(sum, x, y, NULL, rows->n, true);
	else if (rows->base)
		dot_of(sum, x, y, rows->base, rows->n, false);
	else
		dot_of(sum, x, y, NULL, rows->n, false);
}

static void pair(struct gram_lanes *xx, struct gram_lanes *xy,
		 struct gram_lanes *yy, const float *x, const float *y,
		 const struct gram_rows *rows)
{
	if (rows->halves && rows->base)
		pair_of(xx, xy, yy, x, y, rows->base, rows->n, true);
	else if (rows->halves)
		pair_of(xx, xy, yy, x, y, NULL, rows->n, true);
	else if (rows->base)
		pair_of(xx, xy, yy, x, y, rows->base, rows->n, false);
	else
		pair_of(xx, xy, yy, x, y, NULL, rows->n, false);
}

void gram_add_lanes(struct gram_lanes *lanes, const struct gram_rows *rows,
		    unsigned k)
{
	float *const *in = rows->in;

	for (unsigned i = 0; i < k; i += 2) {
		struct gram_lanes *row = lanes + gram_index(k, i, 0);
		if (i + 1 == k) {
			dot(&row[i], in[i], in[i], rows);
			return;
		}

		struct gram_lanes *next = lanes + gram_index(k, i + 1, 0);
		pair(&row[i], &row[i + 1], &next[i + 1], in[i], in[i + 1],
		     rows);
		for (unsigned j = i + 2; j < k; j++) {
			dot(&row[j], in[i], in[j], rows);
			dot(&next[j], in[i + 1], in[j], rows);
		}
	}
}

static double folded_dot(const struct gram_rows *rows, unsigned i, unsigned j)
{
	struct gram_lanes lanes = {};

	dot(&lanes, rows->in[i], rows->in[j], rows);
	return gram_fold(&lanes);
}

void gram_add(double *gram, const struct gram_rows *rows, unsigned k)
{
	for (unsigned i = 0; i < k; i += 2) {
		struct gram_lanes own[3] = {};
		struct gram_rows left = *rows;
		double *row = gram + gram_index(k, i, 0);
		bool two = i + 1 < k;

		left.in += i;
		gram_add_lanes(own, &left, two ? 2 : 1);
		row[i] += gram_fold(&own[0]);
		if (!two)
			return;

		double *next = gram + gram_index(k, i + 1, 0);
		row[i + 1] += gram_fold(&own[1]);
		next[i + 1] += gram_fold(&own[2]);
		for (unsigned j = i + 2; j < k; j++) {
			row[j] += folded_dot(rows, i, j);
			next[j] += folded_dot(rows, i + 1, j);
		}
	}
}
