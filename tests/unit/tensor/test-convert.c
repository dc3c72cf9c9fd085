/*
 * Conversions of every instruction set, against slow ones made of ldexp and
 * rint here.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "tests/unit/check.h"

#define N_PATTERNS 65536

/* A 16-bit float: sign, exponent, digits. */
struct format {
	enum dtype_code code;
	int digits; /* after the point */
	int bias;
	uint16_t nan;
};

static const struct format formats[] = {
	{DTYPE_F16, 10, 15, 0x7e00},
	{DTYPE_BF16, 7, 127, 0x7fc0},
};

static double slow_decode(const struct format *format, uint16_t pattern)
{
	int exponents = 1 << (15 - format->digits);
	int exponent = (pattern & 0x7fff) >> format->digits;
	int digits = pattern & ((1 << format->digits) - 1);
	double size;

	if (exponent == exponents - 1)
		size = digits ? (double)NAN : (double)INFINITY;
	else if (exponent == 0)
		size = ldexp(digits, 1 - format->bias - format->digits);
	else
		size = ldexp(digits + (1 << format->digits),
			     exponent - format->bias - format->digits);
	return copysign(size, pattern & 0x8000 ? -1 : 1);
}

/* To the nearest value of the format, even at ties. */
static double slow_round(const struct format *format, double value)
{
	int exponent;
	if (!isfinite(value) || value == 0)
		return value;

	frexp(value, &exponent);
	if (exponent < 2 - format->bias)
		exponent = 2 - format->bias;
	double unit = ldexp(1, exponent - 1 - format->digits);
	double rounded = rint(value / unit) * unit;
	double limit = ldexp(1, format->bias + 1);
	return fabs(rounded) >= limit ? copysign((double)INFINITY, value)
				      : rounded;
}

static bool same(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) && isnan(b);
	return a == b && signbit(a) == signbit(b);
}

static uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(*state >> 32);
}

static float float_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static void test_patterns(const struct isa *isa, const struct format *format)
{
	static float loaded[N_PATTERNS];
	static char stored[2 * N_PATTERNS + 1], again[2 * N_PATTERNS + 1];

	for (uint32_t i = 0; i < N_PATTERNS; i++)
		memcpy(stored + 1 + 2 * i, &(uint16_t){(uint16_t)i}, 2);
	isa->load[format->code](loaded, stored + 1, N_PATTERNS);
	isa->store[format->code](again + 1, loaded, N_PATTERNS);
	for (uint32_t i = 0; i < N_PATTERNS; i++) {
		uint16_t pattern;
		double expected = slow_decode(format, (uint16_t)i);

		memcpy(&pattern, again + 1 + 2 * i, 2);
		CHECK(same(loaded[i], expected));
		CHECK(pattern == (isnan(expected) ? format->nan : i));
	}
}

static void check_rounding(const struct isa *isa, const struct format *format,
			   const float *in, size_t n)
{
	uint16_t patterns[64];
	float rounded[64];

	CHECK(n <= 64);
	isa->store[format->code](patterns, in, n);
	memcpy(rounded, in, n * sizeof(*in));
	isa->round[format->code](rounded, n);
	for (size_t i = 0; i < n; i++) {
		double expected = slow_round(format, in[i]);
		CHECK(same(slow_decode(format, patterns[i]), expected));
		CHECK(same(rounded[i], expected));
	}
}

/* Around the middle between every two neighbours. */
static void test_middles(const struct isa *isa, const struct format *format)
{
	for (uint32_t i = 0; i < 0x7fff; i++) {
		double a = slow_decode(format, (uint16_t)i);
		double b = slow_decode(format, (uint16_t)(i + 1));
		if (!isfinite(a))
			break;

		if (isinf(b))
			b = ldexp(1, format->bias + 1);
		float middle = (float)(a + (b - a) / 2);
		float in[] = {
			middle,
			nextafterf(middle, INFINITY),
			nextafterf(middle, 0),
			-middle,
			-nextafterf(middle, INFINITY),
			-nextafterf(middle, 0),
		};
		check_rounding(isa, format, in, sizeof(in) / sizeof(in[0]));
	}
}

static void test_random(const struct isa *isa, const struct format *format)
{
	uint64_t state = 1;
	float in[64];

	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 64; i++)
			in[i] = float_of(next_random(&state));
		check_rounding(isa, format, in, 64);
	}
}

static void test_wide(const struct isa *isa)
{
	uint64_t state = 2;
	float in[64], out[64];
	char stored[64 * 8 + 1];

	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 64; i++)
			in[i] = float_of(next_random(&state));
		isa->store[DTYPE_F32](stored + 1, in, 64);
		isa->load[DTYPE_F32](out, stored + 1, 64);
		for (int i = 0; i < 64; i++)
			CHECK(same(in[i], out[i]));
		isa->store[DTYPE_F64](stored + 1, in, 64);
		isa->load[DTYPE_F64](out, stored + 1, 64);
		for (int i = 0; i < 64; i++)
			CHECK(same(in[i], out[i]));
	}
}

static void test_f64_rounding(const struct isa *isa)
{
	const double in[] = {
		1 + 0x1p-24, 1 + 3 * 0x1p-24, 1 + 0x1p-24 + 0x1p-52,
		1e300,	     -1e-300,	      0x1.ffffffp127,
		0x1.8p-149,  -(double)NAN,
	};
	const double expected[] = {
		1,    1 + 0x1p-22,	1 + 0x1p-23, (double)INFINITY,
		-0.0, (double)INFINITY, 0x1p-148,    (double)NAN,
	};
	float out[8];

	isa->load[DTYPE_F64](out, in, 8);
	for (int i = 0; i < 8; i++)
		CHECK(same(out[i], expected[i]));
}

/* Any length, and not one element more. */
static void test_lengths(const struct isa *isa, enum dtype_code code)
{
	size_t width = dtype_of(code)->bits / 8;
	float in[80], out[81];
	char stored[80 * 8 + 1];

	for (int i = 0; i < 80; i++)
		in[i] = (float)(i - 40) / 4;
	for (size_t n = 0; n <= 80; n++) {
		memset(stored, 0x55, sizeof(stored));
		isa->store[code](stored, in, n);
		CHECK(stored[n * width] == 0x55);
		out[n] = 1234;
		isa->load[code](out, stored, n);
		CHECK(out[n] == 1234);
		CHECK(memcmp(in, out, n * sizeof(float)) == 0);
	}
}

static void test_same_bytes(const struct isa *isa, const struct isa *plain,
			    enum dtype_code code)
{
	size_t width = dtype_of(code)->bits / 8;
	uint64_t state = 3;
	float in[64];
	char a[64 * 8], b[64 * 8];

	for (int round = 0; round < 3000; round++) {
		for (int i = 0; i < 64; i++) {
			uint32_t special = i % 8 ? 0 : 0x7f800000;
			in[i] = float_of(next_random(&state) | special);
		}
		isa->store[code](a, in, 64);
		plain->store[code](b, in, 64);
		CHECK(memcmp(a, b, 64 * width) == 0);
	}
}

int main(void)
{
	const struct isa *plain = isa_all()[0];

	for (size_t i = 0; isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);
		if (!isa)
			continue;

		for (int f = 0; f < 2; f++) {
			test_patterns(isa, &formats[f]);
			test_middles(isa, &formats[f]);
			test_random(isa, &formats[f]);
		}
		test_wide(isa);
		test_f64_rounding(isa);
		for (enum dtype_code code = 0; code < DTYPE_COUNT; code++) {
			CHECK(!isa->load[code] == !dtype_of(code)->mergeable);
			CHECK(!isa->store[code] == !dtype_of(code)->mergeable);
			if (!isa->load[code])
				continue;
			test_lengths(isa, code);
			test_same_bytes(isa, plain, code);
		}
	}
	return 0;
}
