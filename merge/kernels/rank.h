/*
 * Drops elements of a row by chance, the smaller ones rather: the chance to be
 * kept rises in a straight line with the rank of the magnitude in the row.
 */
#ifndef MERGE_KERNELS_RANK_H
#define MERGE_KERNELS_RANK_H

#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"

#define rank_keep ISA_NAME(rank_keep)

/* The chance of the smallest and of the largest element, in (0, 1). */
struct rank_chances {
	double least, most;
};

/*
 * Sets the bits of keep (n bits, whole words) of the elements that stay. The
 * draw of element e has 32 bits: bytes 2 e and 2 e + 1 of the stream's level 0,
 * the lower one first, and below them those of level 1. Of equal magnitudes
 * that with the lower index has the lower rank. A row of one element has the
 * mean chance. Bits of zeros mean nothing, as zeros stay what they are.
 */
void rank_keep(uint64_t *keep, const float *row, size_t n,
	       const struct rank_chances *chances, uint64_t key, uint64_t nonce,
	       uint64_t first);

#endif
