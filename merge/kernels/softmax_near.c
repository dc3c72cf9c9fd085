#include "merge/kernels/softmax_near.h"

#include <stdint.h>
#include <string.h>

/*
 * Of rows x and y, with u = e^y, d = x - y, averages weighted by u written as
 * <...>, and m = ln <e^d>, the probabilities are q = u / sum(u) and
 * p = q e^(d - m); and the divergence is
 *
 *	<d e^d> / <e^d> - m,
 *
 * to which all of d adds by its powers alone. So sums of u d^j, for few j, are
 * all that is needed of the elements: no logarithm, no quotient, and of the
 * powers of e a short series, as an error in u only weighs an element more or
 * less. What is left out is 3e-9 of the result at most, mostly far less.
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

#define LANES 8
#define WIDTH (FLOATS / 2) /* doubles of a register */
#define ORDER_MOST 8
#define DEGREE_MOST 9
#define ALIKE 0.0625 /* less of <d^2> and its terms cancel too much */

typedef double wide __attribute__((vector_size(WIDTH * sizeof(double))));
typedef float narrow __attribute__((vector_size(WIDTH * sizeof(float))));

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

/* What is summed up: u d^j, then d^j. */
#define PLAIN (ORDER_MOST + 1)
#define N_SUMS (PLAIN + 3)

struct sums {
	wide of[N_SUMS];
};

static inline wide widen(const float *x)
{
	narrow some;

	memcpy(&some, x, sizeof(some));
	return __builtin_convertvector(some, wide);
}

static inline __attribute__((always_inline)) void
add_some(struct sums *sums, const float *x, const float *y,
	 const struct tier *tier)
{
	wide wide_y = widen(y), d = widen(x) - wide_y, square = d * d;
	wide u = tier->series[tier->degree] + (wide){};

	for (int i = tier->degree - 1; i >= 0; i--)
		u = u * wide_y + tier->series[i];
	wide powers[] = {u, u * d};
	for (int j = 0; j <= tier->order; j++) {
		sums->of[j] += powers[j % 2];
		powers[j % 2] *= square;
	}
	sums->of[PLAIN] += d;
	sums->of[PLAIN + 1] += square;
	sums->of[PLAIN + 2] += square * d;
}

/* Of every so manieth element, to a register; what is behind the row's end
 * counts as zeros. */
static inline __attribute__((always_inline)) void
add_part(double lanes[N_SUMS][LANES], size_t part, const float *x,
	 const float *y, size_t n, const struct tier *tier)
{
	float x_end[LANES] = {}, y_end[LANES] = {};
	struct sums sums = {};
	size_t at = 0;

	for (; at + LANES <= n; at += LANES)
		add_some(&sums, x + at + part, y + at + part, tier);
	memcpy(x_end, x + at, (n - at) * sizeof(*x));
	memcpy(y_end, y + at, (n - at) * sizeof(*y));
	if (at < n)
		add_some(&sums, x_end + part, y_end + part, tier);
	for (int i = 0; i < N_SUMS; i++)
		memcpy(lanes[i] + part, &sums.of[i], sizeof(sums.of[i]));
}

static double add_lanes(double lanes[LANES])
{
	for (int width = LANES / 2; width > 0; width /= 2)
		for (int i = 0; i < width; i++)
			lanes[i] += lanes[i + width];
	return lanes[0];
}

static inline __attribute__((always_inline)) void
add_up(double sums[N_SUMS], const float *x, const float *y, size_t n,
       const struct tier *tier)
{
	double lanes[N_SUMS][LANES];

	for (size_t part = 0; part < LANES; part += WIDTH)
		add_part(lanes, part, x, y, n, tier);
	for (int i = 0; i < N_SUMS; i++)
		sums[i] = add_lanes(lanes[i]);
	sums[0] -= (double)((LANES - n % LANES) % LANES);
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
	if (n > LONGEST || !is_within(&span, &tiers[1]))
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
