/*
 * A vector register of doubles, for loops that compilers do not keep in
 * registers by themselves. VECTOR, how many it holds, comes from the build.
 */
#ifndef MERGE_KERNELS_VECTOR_H
#define MERGE_KERNELS_VECTOR_H

typedef double vector __attribute__((vector_size(VECTOR * sizeof(double))));

static inline vector widen(const float *x)
{
	vector wide;

	for (int i = 0; i < VECTOR; i++)
		wide[i] = (double)x[i];
	return wide;
}

#endif
