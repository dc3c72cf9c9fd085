/* The population variance of rows, element by element: in f64, rounded once. */
#ifndef MERGE_KERNELS_VARIANCE_H
#define MERGE_KERNELS_VARIANCE_H

#include <stddef.h>

#include "merge/kernels/isa.h"

#define row_variance ISA_NAME(row_variance)

/* x: (n_rows, n), at most INPUTS_MOST rows. NaN where an element of any row is
 * not finite. */
void row_variance(float *restrict out, float *const *x, unsigned n_rows,
		  size_t n);

#endif
