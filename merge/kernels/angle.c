#include "merge/kernels/angle.h"

#include <math.h>

/* A quarter turn in two parts; a small multiple of the first is exact. */
#define QUARTER_HIGH 0x1.921fb544p0
#define QUARTER_LOW 0x1.0b4611a626331p-34

/* Taylor series of the sine over x (from 2) or of the cosine (from 1). */
static double series(double square, int from)
{
	double sum = 1;

	for (int n = from + 16; n >= from; n -= 2)
		sum = 1 - square / (n * (n + 1)) * sum;
	return sum;
}

double angle_sin(double x)
{
	if (!isfinite(x))
		return (double)NAN;

	/* Exact; a turn is a little less than this, which large x will feel. */
	x = fmod(x, 2 * M_PI);
	int quarter = (int)floor(x / M_PI_2 + 0.5);
	double rest = (x - quarter * QUARTER_HIGH) - quarter * QUARTER_LOW;
	double square = rest * rest;

	double size =
		quarter & 1 ? series(square, 1) : rest * series(square, 2);
	return quarter & 2 ? -size : size;
}

/* x in [0, 1]. Each halving of the angle brings the series closer. */
static double arc_tangent(double x)
{
	for (int i = 0; i < 3; i++)
		x = x / (1 + sqrt(1 + x * x));

	double square = x * x;
	double sum = 0;
	for (int n = 21; n > 0; n -= 2)
		sum = 1.0 / n - square * sum;
	return 8 * x * sum;
}

double angle_acos(double x)
{
	double far = sqrt(1 - x), near = sqrt(1 + x);

	if (far > near)
		return M_PI - 2 * arc_tangent(near / far);
	return 2 * arc_tangent(far / near);
}
