/*
 * Philox4x32-10: random numbers from a key and a counter, so that the number of
 * an element does not depend on any other. (Salmon et al., Parallel random
 * numbers: as easy as 1, 2, 3, 2011.)
 */
#ifndef MERGE_KERNELS_PHILOX_H
#define MERGE_KERNELS_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"

#define philox_fill ISA_NAME(philox_fill)
#define philox_fill_half ISA_NAME(philox_fill_half)
#define philox_block ISA_NAME(philox_block)

/* One block of the generator, as the paper has it. */
void philox_block(uint32_t out[4], const uint32_t counter[4],
		  const uint32_t key[2]);

/*
 * 32 random bits for each of the elements [first, first + n) of a stream. The
 * counter is (number of the block, nonce); an element's block and the word of
 * it are fixed, but not in order, so that blocks are computed side by side.
 */
void philox_fill(uint32_t *out, uint64_t key, uint64_t nonce, uint64_t first,
		 size_t n);

/*
 * 16 random bits for each: half (e % 128 / 64) of what philox_fill() gives
 * element e / 128 * 64 + e % 64; for half the work.
 */
void philox_fill_half(uint16_t *out, uint64_t key, uint64_t nonce,
		      uint64_t first, size_t n);

#endif
