/* Variances against their definition, in every instruction set. */
#define ISA base
#include "merge/kernels/variance.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/check.h"

#define COUNT 83
#define ROWS_MOST 5

typedef void row_variance_fn(float *restrict out, float *const *x,
			     unsigned n_rows, size_t n);

#define ISA_ROW(name, runs) row_variance_fn row_variance_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	row_variance_fn *variance;
} variants[] = {
#define ISA_ROW(name, runs) {#name, row_variance_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

static float values[ROWS_MOST][COUNT];
static float *const rows[ROWS_MOST] = {values[0], values[1], values[2],
				       values[3], values[4]};

static void fill(float scale)
{
	static uint64_t state = 1;

	for (unsigned i = 0; i < ROWS_MOST; i++)
		for (size_t j = 0; j < COUNT; j++) {
			state = state * UINT64_C(6364136223846793005) +
				UINT64_C(1442695040888963407);
			values[i][j] =
				scale * (float)((double)(state >> 40) - 0x1p23);
		}
}

static float expected(unsigned n_rows, size_t at)
{
	long double mean = 0, sum = 0;

	for (unsigned i = 0; i < n_rows; i++)
		mean += (long double)values[i][at];
	mean /= n_rows;
	for (unsigned i = 0; i < n_rows; i++)
		sum += ((long double)values[i][at] - mean) *
		       ((long double)values[i][at] - mean);
	return (float)(double)(sum / n_rows);
}

static void check_rows(const struct variant *variant, unsigned n_rows, size_t n)
{
	float found[COUNT + 1];

	found[n] = 7;
	variant->variance(found, rows, n_rows, n);
	for (size_t i = 0; i < n; i++)
		CHECK(found[i] == expected(n_rows, i));
	CHECK(found[n] == 7);
}

static void check_not_finite(const struct variant *variant, unsigned n_rows)
{
	float found[COUNT];

	values[0][3] = (float)INFINITY;
	values[1][4] = -(float)INFINITY;
	values[0][5] = values[1][5] = (float)INFINITY;
	values[1][6] = (float)NAN;
	values[0][7] = values[1][7] = 3;
	variant->variance(found, rows, n_rows, COUNT);
	for (size_t i = 3; i < 7; i++)
		CHECK(isnan(found[i]));
	CHECK(n_rows > 2 || (found[7] == 0 && !signbit(found[7])));
}

int main(void)
{
	for (const struct variant *variant = variants; variant->isa;
	     variant++) {
		if (!isa_find(variant->isa))
			continue;
		for (unsigned n_rows = 1; n_rows <= ROWS_MOST; n_rows++) {
			fill(1);
			check_rows(variant, n_rows, COUNT);
			check_rows(variant, n_rows, 64);
			check_rows(variant, n_rows, 5);
			fill(0x1p80f);
			check_rows(variant, n_rows, COUNT);
			if (n_rows > 1)
				check_not_finite(variant, n_rows);
		}
	}
	return 0;
}
