/*
 * How far apart two rows are as probabilities. Like angle.h: from additions,
 * products and quotients only, so that all machines give the same bits.
 */
#ifndef MERGE_KERNELS_SOFTMAX_H
#define MERGE_KERNELS_SOFTMAX_H

#include <stddef.h>

#include "merge/kernels/isa.h"

#define softmax_divergence ISA_NAME(softmax_divergence)

/*
 * Kullback-Leibler divergence of softmax(x) from softmax(y), with 1e-8 added to
 * every probability; not below zero.
 */
double softmax_divergence(const float *x, const float *y, size_t n);

#endif
