/*
 * Philox4x32-7: random numbers from a key and a counter, so that the number of
 * an element does not depend on any other. (Salmon et al., Parallel random
 * numbers: as easy as 1, 2, 3, 2011; with seven rounds, the fewest that pass
 * all tests there.)
 */
#ifndef MERGE_KERNELS_PHILOX_H
#define MERGE_KERNELS_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"

#define philox_fill ISA_NAME(philox_fill)
#define philox_block ISA_NAME(philox_block)

#define PHILOX_GROUP 128 /* bytes; ranges of whole groups are the fastest */

/* One block of the generator, as the paper has it. */
void philox_block(uint32_t out[4], const uint32_t counter[4],
		  const uint32_t key[2]);

/*
 * Bytes [first, first + n) of a stream; a nonce has four, numbered by level.
 * The counter is (number of the block, below 2^62, with the level above it;
 * nonce). A group are eight blocks, their first words, then their second ones,
 * and so on, so that blocks are computed side by side.
 */
void philox_fill(uint8_t *out, uint64_t key, uint64_t nonce, unsigned level,
		 uint64_t first, size_t n);

#endif
