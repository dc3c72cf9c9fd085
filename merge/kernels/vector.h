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

#include "merge/kernels/half.h"

typedef double vector __attribute__((vector_size(VECTOR * sizeof(double))));
typedef float narrow __attribute__((vector_size(VECTOR * sizeof(float))));
static inline vector widened(narrow x)
{
	vector wide;

	for (int i = 0; i < VECTOR; i++)
		wide[i] = (double)x[i];
	return wide;
}

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

	for (size_t j = 0; j < VECTOR; j++)
		x[j] = row_at(row, i + j, halves);
	return x;
}

#endif
