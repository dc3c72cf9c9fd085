/*
 * The divergence of rows against its formula in long double, by every road: of
 * rows that are near each other, and of any others.
 */
#define ISA base
#include "merge/kernels/softmax.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "tests/unit/check.h"

#define LONGEST 33000
#define SMALL 1e-8L
#define N_SIZES 10

typedef double divergence_fn(const float *x, const float *y, size_t n);

/* Every instruction set's own. */
#define ISA_ROW(name, runs) divergence_fn softmax_divergence_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	divergence_fn *find;
} variants[] = {
#define ISA_ROW(name, runs) {#name, softmax_divergence_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

static float x[LONGEST], y[LONGEST];
static const size_t sizes[N_SIZES] = {2,  3,   7,    8,	    9,
				      64, 255, 2048, 32768, LONGEST};

/* In [-1, 1). */
static double number(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) +
		UINT64_C(1442695040888963407);
	return (double)(state >> 11) * 0x1p-52 - 1;
}

static long double sum_of(const float *row, size_t n, float most)
{
	long double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += expl((long double)row[i] - (long double)most);
	return sum;
}

static float most_of(const float *row, size_t n)
{
	float most = row[0];

	for (size_t i = 1; i < n; i++)
		most = row[i] > most ? row[i] : most;
	return most;
}

static long double probability(float own, float most, long double sum)
{
	return expl((long double)own - (long double)most) / sum + SMALL;
}

static long double formula(size_t n)
{
	float x_most = most_of(x, n), y_most = most_of(y, n);
	long double x_sum = sum_of(x, n, x_most), y_sum = sum_of(y, n, y_most);
	long double sum = 0;

	for (size_t i = 0; i < n; i++) {
		long double p = probability(x[i], x_most, x_sum);
		long double q = probability(y[i], y_most, y_sum);

		sum += p * logl(p / q);
	}
	return sum;
}

/* The same from all instruction sets, to the bit. */
static double find(size_t n)
{
	double found = softmax_divergence(x, y, n);

	for (const struct variant *v = variants; v->isa; v++) {
		if (!isa_find(v->isa))
			continue;
		double other = v->find(x, y, n);
		CHECK(memcmp(&other, &found, sizeof(found)) == 0 ||
		      (isnan(other) && isnan(found)));
	}
	return found;
}

/* Errors of the elements of near rows, as of floats, that are independent. */
static double even_errors(size_t n)
{
	return n < 64 ? 1e-9 : 2e-7 / sqrt((double)n);
}

/* In long rows what is added to probabilities is less exact. */
static void check_rows(size_t n, double y_size, double tolerance)
{
	double found = find(n), small = (double)(SMALL * n) * y_size;
	long double expected = formula(n);

	tolerance += 2 * small * small;
	CHECK(found >= 0);
	CHECK(fabsl(found - expected) <= tolerance * expected + 3e-15L);
}

static void fill(size_t n, double y_size, double d_size)
{
	for (size_t i = 0; i < n; i++) {
		y[i] = (float)(number() * y_size);
		x[i] = (float)((double)y[i] + number() * d_size);
	}
}

static void test_near(void)
{
	static const double spans[] = {0.05, 0.187, 0.19, 0.9, 1.1};
	static const double distances[] = {1e-5, 0.002, 0.031, 0.032,
					   0.12, 0.13,	0.5};

	for (int s = 0; s < N_SIZES; s++)
		for (int i = 0; i < 5; i++)
			for (int j = 0; j < 7; j++) {
				fill(sizes[s], spans[i], distances[j]);
				check_rows(sizes[s], spans[i],
					   even_errors(sizes[s]));
			}
}

/* All at the bounds of what series are for, or just beyond them. */
static void check_bounds(float y_size, float d_size)
{
	for (int s = 0; s < N_SIZES; s++)
		for (int share = 1; share < 16; share *= 4) {
			for (size_t i = 0; i < sizes[s]; i++) {
				y[i] = number() < 0 ? y_size : -y_size;
				x[i] = y[i] +
				       (i % 16 < (size_t)share ? d_size : 0);
			}
			check_rows(sizes[s], (double)y_size, 1e-7);
			for (size_t i = 0; i < sizes[s]; i++)
				x[i] = y[i] + (i % 16 < (size_t)share
						       ? d_size
						       : -d_size);
			check_rows(sizes[s], (double)y_size, 1e-7);
		}
}

static void test_bounds(void)
{
	static const float spans[] = {0.1875f, 1},
			   distances[] = {0.03125f, 0.125f};

	for (int i = 0; i < 2; i++)
		for (int j = 0; j < 2; j++) {
			check_bounds(spans[i], distances[j]);
			check_bounds(nextafterf(spans[i], 2), distances[j]);
			check_bounds(spans[i], distances[j] * 1.001f);
		}
}

/* A change that is the same for all elements is none, and one that nearly is
 * leaves few digits. */
static void test_shifted(void)
{
	for (size_t i = 0; i < 2048; i++) {
		y[i] = (float)(int)(number() * 1000) * 0x1p-14f;
		x[i] = y[i] + 0x1p-7f;
	}
	CHECK(find(2048) <= 1e-15);
	for (int power = 8; power < 40; power++) {
		x[5] = y[5] + 0x1p-7f + ldexpf(1, -power);
		check_rows(2048, 1, 1e-9);
	}
}

/* Where one element outweighs all others. */
static void test_far(void)
{
	for (int s = 0; s < N_SIZES; s++)
		for (double size = 2; size < 1e38; size *= 1e3) {
			fill(sizes[s], size, size);
			check_rows(sizes[s], 0, 1e-9);
			fill(sizes[s], 0.1, 0.01);
			x[sizes[s] / 2] = (float)size;
			check_rows(sizes[s], 0, 1e-9);
			y[sizes[s] - 1] = (float)-size;
			check_rows(sizes[s], 0, 1e-9);
		}
}

static void test_nothing(void)
{
	for (int s = 0; s < N_SIZES; s++) {
		fill(sizes[s], 0.1, 0);
		CHECK(find(sizes[s]) == 0);
		fill(sizes[s], 1e30, 0);
		CHECK(find(sizes[s]) == 0);
	}
	for (int i = 0; i < 1000; i++) {
		fill(1, 0.1, 0.01);
		CHECK(find(1) == 0);
	}
}

static void test_not_finite(void)
{
	static const float wrong[] = {NAN, INFINITY};

	for (int s = 0; s < N_SIZES; s++)
		for (size_t i = 0; i < 2; i++) {
			size_t at = sizes[s] - 1 - i;

			fill(sizes[s], 0.1, 0.01);
			x[at] = wrong[i];
			CHECK(isnan(find(sizes[s])));
			y[at] = wrong[i];
			CHECK(isnan(find(sizes[s])));
			x[at] = 0;
			CHECK(isnan(find(sizes[s])));
		}
}

int main(void)
{
	test_near();
	test_bounds();
	test_shifted();
	test_far();
	test_nothing();
	test_not_finite();
	return 0;
}
