/*
 * A vector register of doubles, for loops that compilers do not keep in
 * registers by themselves, and as many floats. VECTOR, how many it holds, comes
 * from the build.
 */
#ifndef MERGE_KERNELS_VECTOR_H
#define MERGE_KERNELS_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "merge/kernels/half.h"

typedef double vector __attribute__((vector_size(VECTOR * sizeof(double))));
typedef float narrow __attribute__((vector_size(VECTOR * sizeof(float))));
#if defined(__AVX2__) && VECTOR == 4
/* By name: around the loops below, gcc keeps the sums in memory where there are
 * but 16 registers. */
static inline vector widened(narrow x)
{
	return (vector)_mm256_cvtps_pd((__m128)x);
}

static inline narrow load_halves(const float *row, size_t i)
{
	__m128i halves = _mm_loadl_epi64((const void *)row_from(row, i, true));

	return (narrow)_mm_slli_epi32(_mm_cvtepu16_epi32(halves), 16);
}
#else
static inline narrow load_halves(const float *row, size_t i)
{
	narrow x;

	for (size_t j = 0; j < VECTOR; j++)
		x[j] = row_at(row, i + j, true);
	return x;
}

static inline vector widened(narrow x)
{
	vector wide;

	for (int i = 0; i < VECTOR; i++)
		wide[i] = (double)x[i];
	return wide;
}
#endif

static inline vector widen(const float *x)
{
	vector wide;

	for (int i = 0; i < VECTOR; i++)
		wide[i] = (double)x[i];
	return wide;
}

/* Elements of a row from i on. */
EITHER_KIND narrow load_row(const float *row, size_t i, bool halves)
{
	narrow x;
	if (halves)
		return load_halves(row, i);

	memcpy(&x, row + i, sizeof(x));
	return x;
}

#endif
