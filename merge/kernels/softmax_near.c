#include "merge/kernels/softmax_near.h"

#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

/*
 * Of rows x and y, with u = e^y, d = x - y, averages weighted by u written as
 * <...>, and m = ln <e^d>, the probabilities are q = u / sum(u) and
 * p = q e^(d - m); and the divergence is
 *
 *	<d e^d> / <e^d> - m,
 *
 * to which all of d adds by its powers alone. So sums of u d^j, for few j, are
 * all that is needed of the elements: no logarithm, no quotient, and of the
 * powers of e a short series in floats, as an error in u only weighs an element
 * more or less. What that leaves out is 1e-7 of the result at the very most,
 * which is then rounded to a float; of a row of a thousand elements, whose
 * errors are not all alike, 2e-9.
 *
 * What is added to every probability changes little, and is a series, too:
 *
 *	- SMALL sum(e^D - 1 - D) + SMALL^2 / 2 sum(D^2 / q) - ..., D = d - m,
 *
 * the sums over the elements with equal weights; 1 / u in the last one is
 * 2 - u, but for y^2.
 */
#define SMALL 1e-8
#define LONGEST 32768 /* elements; of more, the next term of SMALL counts */
#define SHORTEST 64   /* elements; of fewer, errors hardly cancel */

#define LANES 16
#define ROUGH 512	   /* elements that are summed up as floats */
#define WIDTH (FLOATS / 2) /* doubles of a register */
#define ORDER_MOST 8
#define DEGREE_MOST 9
#define ALIKE 0.0625 /* less of <d^2> and its terms cancel too much */

typedef float narrow __attribute__((vector_size(FLOATS * sizeof(float))));
typedef float half __attribute__((vector_size(WIDTH * sizeof(float))));
typedef double wide __attribute__((vector_size(WIDTH * sizeof(double))));

/* How near rows are, and what is enough then. */
struct tier {
	float y_most, d_most; /* magnitudes */
	int order;	      /* the last power of d */
	int degree;	      /* of the series for e^y */
	double series[DEGREE_MOST + 1];
};

/* Of all series of their degree those with the least relative error, 1.9e-9
 * and 5e-10, then scaled to begin with 1. */
static const struct tier tiers[] = {
	{
		.y_most = 0.1875f,
		.d_most = 0x1p-5f,
		.order = 6,
		.degree = 5,
		.series = {1, 0x1.ffffffad23598p-1, 0x1.ffffbf822bfb7p-2,
			   0x1.5555be0f2b0bdp-3, 0x1.55eea8daf7969p-5,
			   0x1.10b9583ccc79ep-7},
	},
	{
		.y_most = 1,
		.d_most = 0x1p-3f,
		.order = 8,
		.degree = 9,
		.series = {1, 0x1.ffffffdc4943bp-1, 0x1.fffffea5b1ef4p-2,
			   0x1.55555c4e2d97dp-3, 0x1.5555b6ac51d26p-5,
			   0x1.110f8827aedbcp-7, 0x1.6bf1c296fdd36p-10,
			   0x1.a090d9335ae29p-13, 0x1.ab488654eff28p-16,
			   0x1.698ce31c1ed94p-19},
	},
};

/*
 * What is summed up: u d^j, then d^j. The first few are the result but for
 * little, and are added up as doubles; of the others a float has more digits
 * than count.
 */
#define FINE 3
#define PLAIN (ORDER_MOST + 1)
#define N_SUMS (PLAIN + 3)

struct fine {
	wide of[FINE][2];
};

struct rough {
	narrow of[N_SUMS];
};

static inline narrow load(const float *x)
{
	narrow some;

	memcpy(&some, x, sizeof(some));
	return some;
}

/* Both halves; gcc would take them through memory. */
static inline wide widen_low(narrow x)
{
#if defined(__AVX512F__)
	return _mm512_cvtps_pd(_mm512_castps512_ps256(x));
#elif defined(__AVX2__)
	return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
#else
	half some;

	memcpy(&some, &x, sizeof(some));
	return __builtin_convertvector(some, wide);
#endif
}

static inline wide widen_high(narrow x)
{
#if defined(__AVX512F__)
	return _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
#elif defined(__AVX2__)
	return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
#else
	half some;

	memcpy(&some, (const char *)&x + sizeof(some), sizeof(some));
	return __builtin_convertvector(some, wide);
#endif
}

static inline wide widen(narrow x, size_t i)
{
	return i == 0 ? widen_low(x) : widen_high(x);
}

static inline __attribute__((always_inline)) void
add_some(struct fine *fine, struct rough *rough, const float *x, const float *y,
	 const struct tier *tier)
{
	narrow start = load(y), d = load(x) - start;
	narrow u = (float)tier->series[tier->degree] + (narrow){};

	for (int i = tier->degree - 1; i >= 0; i--)
		u = u * start + (float)tier->series[i];
	for (size_t i = 0; i < 2; i++) {
		wide weight = widen(u, i), distance = widen(d, i);
		wide first = weight * distance;

		fine->of[0][i] += weight;
		fine->of[1][i] += first;
		fine->of[2][i] += first * distance;
	}
	narrow square = d * d, cube = square * d, power = u * cube;
	for (int j = FINE; j <= tier->order; j++) {
		rough->of[j] += power;
		power *= d;
	}
	rough->of[PLAIN] += d;
	rough->of[PLAIN + 1] += square;
	rough->of[PLAIN + 2] += cube;
}

/* Of elements so far apart, to a register, of whole blocks of lanes. */
static inline __attribute__((always_inline)) void
add_part(double lanes[N_SUMS][LANES], size_t part, const float *x,
	 const float *y, size_t n, const struct tier *tier)
{
	struct fine fine = {};
	struct rough rough = {};

	for (size_t at = 0; at < n; at += LANES)
		add_some(&fine, &rough, x + at + part, y + at + part, tier);
	for (size_t i = 0; i < 2; i++)
		for (int j = 0; j < N_SUMS; j++) {
			double *to = lanes[j] + part + i * WIDTH;
			wide sum;

			memcpy(&sum, to, sizeof(sum));
			sum += j < FINE ? fine.of[j][i] : widen(rough.of[j], i);
			memcpy(to, &sum, sizeof(sum));
		}
}

static inline __attribute__((always_inline)) void
add_blocks(double lanes[N_SUMS][LANES], const float *x, const float *y,
	   size_t n, const struct tier *tier)
{
	for (size_t part = 0; part < LANES; part += FLOATS)
		add_part(lanes, part, x, y, n, tier);
}

static double add_lanes(double lanes[LANES])
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			lanes[i] += lanes[i + width];
	return lanes[0];
}

/* What is behind the row's end counts as zeros, which add to the first sum. */
static inline __attribute__((always_inline)) void
add_up(double sums[N_SUMS], const float *x, const float *y, size_t n,
       const struct tier *tier)
{
	double lanes[N_SUMS][LANES] = {};
	float x_end[LANES] = {}, y_end[LANES] = {};
	size_t whole = n / LANES * LANES, end = n - whole;

	for (size_t at = 0; at < whole; at += ROUGH)
		add_blocks(lanes, x + at, y + at,
			   whole - at < ROUGH ? whole - at : ROUGH, tier);
	memcpy(x_end, x + whole, end * sizeof(*x));
	memcpy(y_end, y + whole, end * sizeof(*y));
	if (end > 0)
		add_blocks(lanes, x_end, y_end, LANES, tier);
	for (int i = 0; i < N_SUMS; i++)
		sums[i] = add_lanes(lanes[i]);
	sums[0] -= end > 0 ? (double)(LANES - end) : 0;
}

/* ln(1 + r) - r + r^2 / 2, for |r| < 0.14. */
static double log_rest(double r)
{
	double sum = 0;

	for (int k = 12; k >= 3; k--)
		sum = 1.0 / k - sum * r;
	return r * r * r * sum;
}

/* Sum of (d - m)^3 from sums of d^3, d^2, d and 1. */
static double cubes_off(double third, double second, double first, double count,
			double m)
{
	return third - 3 * m * second + 3 * m * m * first - m * m * m * count;
}

/*
 * What SMALL adds to the divergence. means: of d^j, weighted; bend: m - <d>.
 * Powers of D from the fourth on are so small that weights do not matter: they
 * come from the average of e^D, which is 1.
 */
static double small_part(const double sums[N_SUMS], const double *means,
			 double bend, size_t n)
{
	const double *plain = sums + PLAIN;
	double count = (double)n, m = means[1] + bend;
	double squares = plain[1] - 2 * m * plain[0] + m * m * count;
	double cubes = cubes_off(plain[2], plain[1], plain[0], count, m);
	double weighted = means[2] - 2 * m * means[1] + m * m;
	double rest = bend - weighted / 2 -
		      cubes_off(means[3], means[2], means[1], 1, m) / 6;
	double inverse = sums[0] * (2 * squares - sums[0] * weighted);

	return SMALL *
	       (SMALL / 2 * inverse - squares / 2 - cubes / 6 - count * rest);
}

/*
 * With <e^d> = 1 + <d> + rise and <d e^d> = <d> + rise + excess, <d> itself
 * cancels; it is left out from the beginning.
 */
static bool find_divergence(const double sums[N_SUMS], size_t n, int order,
			    double *ret)
{
	double means[ORDER_MOST + 1], factorial = 1, rise = 0, excess = 0;

	for (int j = 1; j <= order; j++)
		means[j] = sums[j] / sums[0];
	for (int j = 2; j <= order; j++) {
		factorial *= j;
		rise += means[j] / factorial;
		excess += means[j] * (j - 1) / factorial;
	}
	double r = means[1] + rise, log = log_rest(r);
	double own = excess - (r + excess) * r / (1 + r) + r * r / 2 - log;
	if (!(own > means[2] * ALIKE))
		return false;

	*ret = own + small_part(sums, means, rise - r * r / 2 + log, n);
	return true;
}

static int32_t size_bits(float x)
{
	int32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x7fffffff;
}

/* The largest magnitude; any NaN is larger. */
static void find_span(struct tier *ret, const float *x, const float *y,
		      size_t n)
{
	int32_t y_most = 0, d_most = 0;

	for (size_t i = 0; i < n; i++) {
		int32_t own = size_bits(y[i]), d = size_bits(x[i] - y[i]);

		y_most = own > y_most ? own : y_most;
		d_most = d > d_most ? d : d_most;
	}
	memcpy(&ret->y_most, &y_most, sizeof(y_most));
	memcpy(&ret->d_most, &d_most, sizeof(d_most));
}

static bool is_within(const struct tier *span, const struct tier *tier)
{
	return span->y_most <= tier->y_most && span->d_most <= tier->d_most;
}

bool softmax_near(const float *x, const float *y, size_t n, double *ret)
{
	struct tier span;
	double sums[N_SUMS];
	int i = 0;

	find_span(&span, x, y, n);
	if (n < SHORTEST || n > LONGEST || !is_within(&span, &tiers[1]))
		return false;
	if (span.d_most == 0) {
		*ret = 0;
		return true;
	}
	if (is_within(&span, &tiers[0]))
		add_up(sums, x, y, n, &tiers[0]);
	else
		add_up(sums, x, y, n, &tiers[i = 1]);
	return find_divergence(sums, n, tiers[i].order, ret);
}
