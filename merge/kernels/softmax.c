#include "merge/kernels/softmax.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/softmax_near.h"

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

/*
 * e^x for x <= 0; a few units in the last place; tiny results are not below
 * the normal numbers. NaN for NaN. The polynomial is the one of its degree
 * with the least relative error, 2.2e-16 at most; its even and its odd terms
 * are summed apart, as one long chain would keep processors waiting.
 */
static inline double exponential(double x)
{
	x = x < -700 ? -700 : x;
	double shifted = x * M_LOG2E + ROUNDING;
	double whole = shifted - ROUNDING;
	double r = (x - whole * LN2_HIGH) - whole * LN2_LOW;
	double square = r * r;
	double even = 0x1.2727a9697255ep-22, odd = 0x1.72f986a688576p-19;

	even = even * square + 0x1.a01b6ce51e147p-16;
	even = even * square + 0x1.6c16c0c0ab031p-10;
	even = even * square + 0x1.55555555933d2p-5;
	even = even * square + 0x1.ffffffffffe17p-2;
	even = even * square + 1;
	odd = odd * square + 0x1.a0197a4d4c8d7p-13;
	odd = odd * square + 0x1.1111112d49dfbp-7;
	odd = odd * square + 0x1.555555554bc06p-3;
	odd = odd * square + 0x1.000000000001dp+0;
	return (odd * r + even) * double_of((bits_of(shifted) + 1023) << 52);
}

/*
 * ln(x / y) for normal x, y > 0 that are less than 2^1000 apart.
 *
 * The bits of a number are nearly its logarithm. So y is scaled by the power of
 * two that brings its bits next to those of x; what is left is at most 2^0.587,
 * and its logarithm an odd series of (x - y) / (x + y), the one division. The
 * polynomial has the least relative error of its degree, 2e-17.
 */
static inline double log_ratio(double x, double y)
{
	uint64_t apart = bits_of(x) - bits_of(y) + (UINT64_C(1) << 51);
	uint64_t exponent = apart & UINT64_C(0xfff0000000000000);
	uint64_t biased = (exponent + (UINT64_C(1024) << 52)) >> 52;
	double whole = double_of(biased | bits_of(0x1p52)) - (0x1p52 + 1024);
	double scaled = double_of(bits_of(y) + exponent);
	double s = (x - scaled) / (x + scaled), square = s * s;
	double sum = 0x1.3af7cffc2c8f0p-3;

	sum = sum * square + 0x1.384b6935587acp-3;
	sum = sum * square + 0x1.747541fe38cc4p-3;
	sum = sum * square + 0x1.c71bff0f7f5b0p-3;
	sum = sum * square + 0x1.249249b5cc18fp-2;
	sum = sum * square + 0x1.99999998eb84cp-2;
	sum = sum * square + 0x1.555555555578ap-1;
	return whole * M_LN2 + (s * 2 + s * square * sum);
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

/* NaN may be left out: the powers of such a row are NaN whatever is most. */
static double find_most(const float *x, size_t n)
{
	float tops[LANES], most = x[0];
	size_t at = 0;

	for (size_t i = 0; i < LANES; i++)
		tops[i] = x[0];
	for (; at + LANES <= n; at += LANES)
		for (size_t i = 0; i < LANES; i++)
			tops[i] = x[at + i] > tops[i] ? x[at + i] : tops[i];
	for (; at < n; at++)
		most = x[at] > most ? x[at] : most;
	for (size_t i = 0; i < LANES; i++)
		most = tops[i] > most ? tops[i] : most;
	return (double)most;
}

/* e^(x - most) of a chunk, zero behind its n elements. */
static void raise(double *restrict out, const float *restrict x, double most,
		  size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = exponential((double)x[i] - most);
	memset(out + n, 0, (CHUNK - n) * sizeof(*out));
}

/* A row as probabilities, but for the factor 1 / sum. */
struct raised {
	const float *row;
	size_t n;
	double most, sum; /* most is of the row */
	double *kept;	  /* (KEPT,) powers of the row's beginning */
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

static inline double probability(double power, double factor)
{
	return power * factor + SMALL;
}

static void find_terms(double *restrict out, const double *restrict p,
		       double p_factor, const double *restrict q,
		       double q_factor, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double own = probability(p[i], p_factor);
		double other = probability(q[i], q_factor);

		out[i] = own * log_ratio(own, other);
	}
	memset(out + n, 0, (CHUNK - n) * sizeof(*out));
}

double softmax_divergence(const float *x, const float *y, size_t n)
{
	double x_kept[KEPT], y_kept[KEPT], lanes[LANES] = {};
	struct raised x_raised = {.row = x, .n = n, .kept = x_kept};
	struct raised y_raised = {.row = y, .n = n, .kept = y_kept};
	double x_room[CHUNK], y_room[CHUNK], terms[CHUNK], near;
	if (softmax_near(x, y, n, &near))
		return near;

	sum_raised(&x_raised);
	sum_raised(&y_raised);
	double x_factor = 1 / x_raised.sum, y_factor = 1 / y_raised.sum;
	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;
		const double *p = find_raised(x_room, &x_raised, at);
		const double *q = find_raised(y_room, &y_raised, at);

		find_terms(terms, p, x_factor, q, y_factor, now);
		add_row(lanes, terms);
	}
	/* What the bits of a NaN would not give. */
	double sum = add_lanes(lanes) + 0 * (x_factor + y_factor);
	return sum < 0 ? 0 : sum;
}
