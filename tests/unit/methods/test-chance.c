/*
 * What random methods keep, on 10^7 elements: how much, by which ranks, and
 * that neighbours, models and tensors are independent; all to six standard
 * deviations. What is drawn depends on nothing but the keys, so that a passing
 * test keeps passing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "tests/unit/check.h"

#ifndef COUNT /* the build has fewer where it is slow */
#define COUNT ((size_t)10000000)
#endif
#define ROW ((size_t)4000) /* the usual length of rows */
#define LONGEST ((size_t)20000)
#define N_BINS 20

/* Which elements a method keeps. */
struct trial {
	const char *method;
	double density, epsilon;
	struct method_stream stream;
	size_t row;
	/* The magnitudes of a row: each of so many equally often, ascending in
	 * strides, another order in each row. */
	size_t n_values;
	float least; /* the smallest magnitude; the others are 1 apart */
};

/* Short rows are slow: a group of numbers is drawn for each. */
static size_t count_of(const struct trial *trial)
{
	return trial->row < 64 ? COUNT / 20 : COUNT;
}

static const struct method *fastest(const char *name)
{
	size_t place = 0;

	while (strcmp(method_all()[place]->name, name) != 0)
		place++;
	return isa_best()->methods[place];
}

static void set_value(double *values, const struct method *method,
		      const char *name, double value)
{
	int p = method_param_find(method, name);

	if (p >= 0)
		values[2 * p] = values[2 * p + 1] = value;
}

static size_t value_at(const struct trial *trial, size_t e)
{
	if (trial->n_values == 1)
		return 0;
	size_t row = e / trial->row, column = e % trial->row;
	size_t mixed = (column * 1237 + row * 17) % trial->row;

	return mixed * trial->n_values / trial->row;
}

static void blend(const struct trial *trial, const struct method *method,
		  const struct method_args *args, size_t first, size_t n,
		  unsigned char *kept)
{
	static float rows[2][LONGEST], out[LONGEST];

	memset(rows[0], 0, n * sizeof(float));
	for (size_t i = 0; i < n; i++)
		rows[1][i] = trial->least + (float)value_at(trial, first + i);
	method->blend(out, (float *[]){rows[0], rows[1]}, first, n, args, NULL);
	for (size_t i = 0; i < n; i++)
		kept[i] = out[i] != 0;
}

/* kept: (COUNT,) */
static void find_kept(const struct trial *trial, unsigned char *kept)
{
	const struct method *method = fastest(trial->method);
	double values[32] = {0};
	struct method_stream streams[2] = {{0, 0}, trial->stream};
	struct method_args args = {
		.n_inputs = 2,
		.values = values,
		.count = count_of(trial),
		.row = trial->row,
		.stride = trial->row,
		.streams = streams,
		.traits = method->traits,
	};
	size_t unit = TILE / trial->row * trial->row;

	set_value(values, method, "weight", 1);
	set_value(values, method, "lambda", 1);
	set_value(values, method, "density", trial->density);
	set_value(values, method, "epsilon", trial->epsilon);
	if (unit == 0)
		unit = trial->row;
	for (size_t at = 0; at < args.count; at += unit)
		blend(trial, method, &args, at,
		      args.count - at < unit ? args.count - at : unit,
		      kept + at);
}

static void check_sum(double sum, double expected, double variance)
{
	CHECK(fabs(sum - expected) <= 6 * sqrt(variance));
}

static double count(const unsigned char *kept)
{
	size_t sum = 0;

	for (size_t i = 0; i < COUNT; i++)
		sum += kept[i];
	return (double)sum;
}

static void test_kept_share(unsigned char *kept)
{
	/* The first is below one in 2^16. */
	static const double densities[] = {5e-6, 0.01, 0.3, 0.5, 0.9};

	for (size_t i = 0; i < sizeof(densities) / sizeof(*densities); i++) {
		double d = densities[i], n = (double)COUNT;

		find_kept(&(struct trial){.method = "dare_linear",
					  .density = d,
					  .stream = {i, 7},
					  .row = ROW,
					  .n_values = 1,
					  .least = 1},
			  kept);
		check_sum(count(kept), n * d, n * d * (1 - d));
	}
}

/* Of two that are independent, each kept with chance 1/2, half are alike. */
static void check_independent(const unsigned char *a, const unsigned char *b,
			      size_t n)
{
	size_t alike = 0;

	for (size_t i = 0; i < n; i++)
		alike += a[i] == b[i];
	check_sum((double)alike, (double)n / 2, (double)n / 4);
}

static void test_independence(unsigned char *kept, unsigned char *other)
{
	static const size_t lags[] = {1,  2,  3,  4,   5,   8,	 15,   16,
				      17, 32, 64, 128, 256, 512, 1024, ROW};
	/* Keys and nonces that differ in one bit, or change places. */
	static const struct method_stream streams[] = {
		{6, 9}, {5, 8}, {9, 5}, {5, (uint64_t)1 << 63 | 9}};
	struct trial trial = {.method = "dare_ties",
			      .density = 0.5,
			      .stream = {5, 9},
			      .row = ROW,
			      .n_values = 1,
			      .least = 1};

	find_kept(&trial, kept);
	for (size_t i = 0; i < sizeof(lags) / sizeof(*lags); i++)
		check_independent(kept, kept + lags[i], COUNT - lags[i]);
	for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
		trial.stream = streams[i];
		find_kept(&trial, other);
		check_independent(kept, other, COUNT);
	}
	trial.stream = (struct method_stream){5, 9};
	find_kept(&trial, other);
	CHECK(memcmp(kept, other, COUNT) == 0);
}

/* Ranks of a row's elements; of equal magnitudes the first is the lowest. */
static void find_ranks(const struct trial *trial, size_t first, size_t *ranks)
{
	static size_t begins[LONGEST + 1];

	memset(begins, 0, (trial->n_values + 1) * sizeof(*begins));
	for (size_t i = 0; i < trial->row; i++)
		begins[value_at(trial, first + i) + 1]++;
	for (size_t v = 0; v < trial->n_values; v++)
		begins[v + 1] += begins[v];
	for (size_t i = 0; i < trial->row; i++)
		ranks[i] = begins[value_at(trial, first + i)]++;
}

/* Kept elements, expectation and variance; of each bin of ranks, and of the
 * slope: elements weighted by their rank's distance from the middle. */
struct tally {
	double sum, expected, variance;
};

static void add(struct tally *tally, double weight, bool kept, double chance)
{
	tally->sum += weight * kept;
	tally->expected += weight * chance;
	tally->variance += weight * weight * chance * (1 - chance);
}

static void check_ranked(const struct trial *trial, unsigned char *kept)
{
	struct tally bins[N_BINS] = {}, slope = {};
	static size_t ranks[LONGEST];

	find_kept(trial, kept);
	for (size_t at = 0; at < count_of(trial); at += trial->row) {
		find_ranks(trial, at, ranks);
		for (size_t i = 0; i < trial->row; i++) {
			/* The place of a lone element is the middle. */
			double place =
				trial->row > 1
					? (double)ranks[i] /
						  (double)(trial->row - 1)
					: 0.5;
			double chance = trial->density +
					trial->epsilon * (2 * place - 1);

			add(&bins[(size_t)(place * (N_BINS - 1) + 0.5)], 1,
			    kept[at + i], chance);
			add(&slope, place - 0.5, kept[at + i], chance);
		}
	}
	for (int i = 0; i < N_BINS; i++)
		check_sum(bins[i].sum, bins[i].expected, bins[i].variance);
	check_sum(slope.sum, slope.expected, slope.variance);
}

/* Rows with a bin for each magnitude or for a few of them, that are counted
 * out, with many equal elements, with nearly all in one bin, of one element. */
static void test_ranks(unsigned char *kept)
{
	static const struct trial trials[] = {
		{"della", 0.5, 0.2, {1, 2}, ROW, ROW, 1},
		{"della_linear", 0.3, 0.25, {3, 4}, 10, 10, 1},
		{"della", 0.8, 0.15, {5, 6}, LONGEST, 3, 1},
		{"della", 0.6, 0.3, {9, 10}, LONGEST, LONGEST, 1e6},
		{"della_linear", 0.4, 0.15, {7, 8}, 1, 1, 1},
	};

	for (size_t i = 0; i < sizeof(trials) / sizeof(*trials); i++)
		check_ranked(&trials[i], kept);
}

int main(void)
{
	unsigned char *kept = malloc(COUNT), *other = malloc(COUNT);
	CHECK(kept && other);

	test_kept_share(kept);
	test_independence(kept, other);
	test_ranks(kept);
	free(kept);
	free(other);
	return 0;
}
