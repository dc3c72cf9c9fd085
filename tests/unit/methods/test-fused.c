/* The multiply-add made of doubles gives what the C library's gives. */
#define FUSED fused_soft
#include "merge/kernels/fused.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "tests/unit/check.h"

static float float_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(*state >> 32);
}

static void check(float x, float w, float acc)
{
	float got = fused(x, w, acc), expected = fmaf(x, w, acc);

	if (isnan(expected))
		CHECK(isnan(got));
	else
		CHECK(memcmp(&got, &expected, sizeof(got)) == 0);
}

static void test_special(void)
{
	static const float values[] = {
		0,	   -0.0f,	    1,
		-1,	   INFINITY,	    -INFINITY,
		NAN,	   0x1p-149f,	    -0x1p-149f,
		0x1p-126f, 0x1.fffffep127f, 0x1.000002p0f,
	};
	const int n = sizeof(values) / sizeof(values[0]);

	for (int i = 0; i < n; i++)
		for (int j = 0; j < n; j++)
			for (int k = 0; k < n; k++)
				check(values[i], values[j], values[k]);
}

static void test_any_bits(void)
{
	uint64_t state = 1;

	for (int i = 0; i < 2000000; i++) {
		float x = float_of(next_random(&state));
		float w = float_of(next_random(&state));

		check(x, w, float_of(next_random(&state)));
	}
}

/*
 * Products a hair beside half a digit of what they are added to, so that the
 * rounding hangs on digits that a double has lost.
 */
static void test_near_ties(void)
{
	uint64_t state = 2;

	for (int i = 0; i < 2000000; i++) {
		uint32_t r = next_random(&state);
		float x = 1 + (float)((int)(r & 15) - 8) * 0x1p-23f;
		float w = 1 + (float)((int)(r >> 4 & 15) - 8) * 0x1p-23f;
		float acc = 1 + (float)(r >> 8 & 3) * 0x1p-23f;
		int exponent = -22 - (int)(r >> 10 & 3);
		int shift = r >> 12 & 1 ? -125 : 0; /* subnormal results */

		acc = ldexpf(r >> 13 & 1 ? -acc : acc, shift);
		check(ldexpf(x, exponent / 2 + shift / 2),
		      ldexpf(w, exponent - exponent / 2 + shift - shift / 2),
		      acc);
	}
}

int main(void)
{
	test_special();
	test_any_bits();
	test_near_ties();
	return 0;
}
