#include "merge/kernels/softmax.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CHUNK 256
#define LANES 16
#define KEPT 16384 /* powers of a row that are not computed twice */
#define SMALL 1e-8 /* added to every probability */

/* ln 2 in two parts; multiples of the first up to 2^11 are exact. */
#define LN2_HIGH 0x1.62e42fefa3800p-1
#define LN2_LOW 0x1.ef35793c76730p-45

/* 1.5 * 2^52: adding it rounds to a whole number in the lower bits. */
#define ROUNDING 0x1.8p52

static inline uint64_t bits_of(double x)
{
	uint64_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static inline double double_of(uint64_t bits)
{
	double x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* e^x for x <= 0; a few units in the last place; tiny results are not below
 * the normal numbers. NaN for NaN. */
static inline double exponential(double x)
{
	x = x < -700 ? -700 : x;
	double shifted = x * M_LOG2E + ROUNDING;
	double whole = shifted - ROUNDING;
	double r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
	double sum = 1.0 / 6227020800;

	sum = sum * r + 1.0 / 479001600;
	sum = sum * r + 1.0 / 39916800;
	sum = sum * r + 1.0 / 3628800;
	sum = sum * r + 1.0 / 362880;
	sum = sum * r + 1.0 / 40320;
	sum = sum * r + 1.0 / 5040;
	sum = sum * r + 1.0 / 720;
	sum = sum * r + 1.0 / 120;
	sum = sum * r + 1.0 / 24;
	sum = sum * r + 1.0 / 6;
	sum = sum * r + 0.5;
	sum = sum * r + 1;
	sum = sum * r + 1;
	return sum * double_of((bits_of(shifted) + 1023) << 52);
}

/* ln x for normal x > 0; NaN for NaN, which its bits would not give. */
static inline double logarithm(double x)
{
	/* x = 2^e * m with m from about sqrt(1/2) to sqrt(2). */
	uint64_t bits = bits_of(x) - bits_of(M_SQRT1_2);
	uint64_t exponent = bits & UINT64_C(0xfff0000000000000);
	double m = double_of(bits_of(x) - exponent);
	double e = (double)(int32_t)((int64_t)exponent >> 52);
	double s = (m - 1) / (m + 1), square = s * s;
	double sum = 2.0 / 21;

	sum = sum * square + 2.0 / 19;
	sum = sum * square + 2.0 / 17;
	sum = sum * square + 2.0 / 15;
	sum = sum * square + 2.0 / 13;
	sum = sum * square + 2.0 / 11;
	sum = sum * square + 2.0 / 9;
	sum = sum * square + 2.0 / 7;
	sum = sum * square + 2.0 / 5;
	sum = sum * square + 2.0 / 3;
	return e * M_LN2 + (s * 2 + s * square * sum) + (x - x);
}

static double add_lanes(double lanes[LANES])
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			lanes[i] += lanes[i + width];
	return lanes[0];
}

static void add_row(double lanes[LANES], const double *x)
{
	for (size_t at = 0; at < CHUNK; at += LANES)
		for (size_t i = 0; i < LANES; i++)
			lanes[i] += x[at + i];
}

static double find_most(const float *x, size_t n)
{
	float most = x[0];

	for (size_t i = 1; i < n; i++)
		most = x[i] > most ? x[i] : most;
	return (double)most;
}

/* e^(x - most) of a chunk, zero behind its n elements. */
static void raise(double *restrict out, const float *restrict x, double most,
		  size_t n)
{
	memset(out, 0, CHUNK * sizeof(*out));
	for (size_t i = 0; i < n; i++)
		out[i] = exponential((double)x[i] - most);
}

/* A row as probabilities, but for the factor 1 / sum. */
struct raised {
	const float *row;
	size_t n;
	double most, sum;
	double *kept; /* (KEPT,) powers of the row's beginning */
};

/* The powers of the chunk at `at`, zero behind the row's end. */
static void raise_chunk(double *restrict out, const struct raised *raised,
			size_t at)
{
	size_t left = raised->n - at;

	raise(out, raised->row + at, raised->most, left < CHUNK ? left : CHUNK);
}

static void sum_raised(struct raised *raised)
{
	double lanes[LANES] = {}, own[CHUNK];

	raised->most = find_most(raised->row, raised->n);
	for (size_t at = 0; at < raised->n; at += CHUNK) {
		double *powers = at < KEPT ? raised->kept + at : own;
		raise_chunk(powers, raised, at);
		add_row(lanes, powers);
	}
	raised->sum = add_lanes(lanes);
}

static const double *find_raised(double *room, const struct raised *raised,
				 size_t at)
{
	if (at < KEPT)
		return raised->kept + at;
	raise_chunk(room, raised, at);
	return room;
}

double softmax_divergence(const float *x, const float *y, size_t n)
{
	double x_kept[KEPT], y_kept[KEPT], lanes[LANES] = {};
	struct raised x_raised = {.row = x, .n = n, .kept = x_kept};
	struct raised y_raised = {.row = y, .n = n, .kept = y_kept};
	double x_room[CHUNK], y_room[CHUNK], terms[CHUNK];

	sum_raised(&x_raised);
	sum_raised(&y_raised);
	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;
		const double *p = find_raised(x_room, &x_raised, at);
		const double *q = find_raised(y_room, &y_raised, at);

		memset(terms, 0, sizeof(terms));
		for (size_t i = 0; i < now; i++) {
			double own = p[i] / x_raised.sum + SMALL;
			double other = q[i] / y_raised.sum + SMALL;

			terms[i] = own * logarithm(own / other);
		}
		add_row(lanes, terms);
	}
	double sum = add_lanes(lanes);
	return sum < 0 ? 0 : sum;
}
