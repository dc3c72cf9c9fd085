/*
 * The divergence of rows that are near each other, as those of fine-tunes of
 * one model are: see softmax.h, which is for any rows and asks here first.
 */
#ifndef MERGE_KERNELS_SOFTMAX_NEAR_H
#define MERGE_KERNELS_SOFTMAX_NEAR_H

#include <stdbool.h>
#include <stddef.h>

#include "merge/kernels/isa.h"

#define softmax_near ISA_NAME(softmax_near)

/* False, and *ret untouched, if the rows are not so near, or too long. */
bool softmax_near(const float *x, const float *y, size_t n, double *ret);

#endif
