/*
 * Fused multiply-add: x * w + acc, rounded once.
 *
 * The build says through FUSED whether the instruction set has it. If not, it
 * is made from doubles: slower, the same bits.
 */
#ifndef MERGE_KERNELS_FUSED_H
#define MERGE_KERNELS_FUSED_H

#include <stdint.h>
#include <string.h>

/*
 * The product of two floats is exact as a double. The sum is rounded to odd:
 * where it is not exact, the neighbour whose last digit is 1 is taken, so that
 * the later rounding to float cannot mistake it for a tie. (Boldo and
 * Melquiond, Emulation of FMA and correctly rounded sums, 2008.)
 *
 * In whole numbers without comparing, because the plainest vector units do not
 * compare 64-bit ones. The error of an infinite sum is NaN, not a digit.
 */
static inline float fused_soft(float x, float w, float acc)
{
	double product = (double)x * w;
	double sum = product + acc;
	double added = sum - product;
	double error = (product - (sum - added)) + (acc - added);
	uint64_t bits, error_bits;

	memcpy(&bits, &sum, sizeof(bits));
	memcpy(&error_bits, &error, sizeof(error_bits));
	uint64_t size = error_bits << 1;
	uint64_t inexact = (size | -size) >> 63;
	uint64_t finite = ~((bits >> 52 & 0x7ff) + 1) >> 11 & 1;
	uint64_t toward_zero = (bits ^ error_bits) >> 63;
	uint64_t step = inexact & finite & ~bits;
	bits += (step ^ -toward_zero) + toward_zero; /* +step or -step */
	memcpy(&sum, &bits, sizeof(sum));
	return (float)sum;
}

static inline float fused(float x, float w, float acc)
{
	return FUSED(x, w, acc);
}

#endif
