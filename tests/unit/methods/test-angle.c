#define ISA base
#include "merge/kernels/angle.h"

#include <math.h>

#include "tests/unit/check.h"

static void check_sin(double x, long double tolerance)
{
	CHECK(fabsl(angle_sin(x) - sinl((long double)x)) <= tolerance);
}

static void test_sin(void)
{
	for (int i = -4000; i <= 4000; i++) {
		double x = i * 0.00137;

		check_sin(x, 4e-16L * fabsl(sinl(x)) + 1e-18L);
	}
	for (int i = 0; i < 1000; i++)
		check_sin(i * 1.37, 1e-13L);
	check_sin(0x1p-600, 0x1p-640L);
	CHECK(angle_sin(0) == 0);
	CHECK(isnan(angle_sin((double)NAN)));
	CHECK(isnan(angle_sin((double)INFINITY)));
	CHECK(fabs(angle_sin(1e300)) <= 1);
}

static void test_acos(void)
{
	for (int i = -4000; i <= 4000; i++) {
		double x = i / 4000.0;
		long double expected = acosl((long double)x);

		CHECK(fabsl(angle_acos(x) - expected) <= 8e-16L * expected);
	}
	CHECK(angle_acos(1) == 0);
	CHECK(isnan(angle_acos((double)NAN)));
}

int main(void)
{
	test_sin();
	test_acos();
	return 0;
}
