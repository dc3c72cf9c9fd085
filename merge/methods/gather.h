/* What scans and folds of several methods have in common. */
#ifndef MERGE_METHODS_GATHER_H
#define MERGE_METHODS_GATHER_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static inline void add_doubles(double *sum, const double *more, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += more[i];
}

static inline void add_counts(uint64_t *sum, const uint64_t *more, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += more[i];
}

/* The one NaN: facts are compared and kept as bytes. */
static inline void plain_doubles(double *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = isnan(x[i]) ? (double)NAN : x[i];
}

#endif
