/*
 * Sine and arc cosine from additions, products, quotients and square roots
 * only: unlike libm's, they give the same bits on every machine. Right to a
 * few units in the last place; not for loops over elements.
 */
#ifndef MERGE_KERNELS_ANGLE_H
#define MERGE_KERNELS_ANGLE_H

#include "merge/kernels/isa.h"

#define angle_sin ISA_NAME(angle_sin)
#define angle_acos ISA_NAME(angle_acos)

/* NaN for NaN and infinities. */
double angle_sin(double x);

/* x in [-1, 1]; NaN for NaN. */
double angle_acos(double x);

#endif
