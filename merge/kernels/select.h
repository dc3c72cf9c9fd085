/*
 * Order statistics by radix histograms: which of all elements has a given rank
 * by magnitude, exactly, in two passes over the elements, and a third where
 * the cut falls among equal ones.
 *
 * The key of an element is the bits of its magnitude, 31 of them: the order of
 * keys is that of magnitudes, NaN above infinity. Ranks ascend from 0.
 */
#ifndef MERGE_KERNELS_SELECT_H
#define MERGE_KERNELS_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/isa.h"

#define SELECT_TOPS 32768u	  /* values of the upper 15 bits of a key */
#define SELECT_LOWS 65536u	  /* values of the lower 16 bits */
#define SELECT_NOT_FINITE 0x7f80u /* upper bits of infinity */

#define SELECT_NAN                                                \
	0x7fc00000u /* the key of every NaN that arithmetic gives \
		     */

#define select_count_tops ISA_NAME(select_count_tops)
#define select_count_lows ISA_NAME(select_count_lows)
#define select_mark ISA_NAME(select_mark)
#define select_fold_tops ISA_NAME(select_fold_tops)
#define select_find_top ISA_NAME(select_find_top)
#define select_find_key ISA_NAME(select_find_key)
#define select_fold_marks ISA_NAME(select_fold_marks)
#define select_sum ISA_NAME(select_sum)

static inline uint32_t select_key(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	bits &= 0x7fffffff;
	return bits < SELECT_NAN ? bits : SELECT_NAN;
}

static inline float select_value(uint32_t key)
{
	float value;

	memcpy(&value, &key, sizeof(value));
	return value;
}

/* Bits of the bytes of eight flags, each 0 or 1. */
static inline uint64_t select_pack8(const uint8_t flags[8])
{
	uint64_t bytes;

	memcpy(&bytes, flags, sizeof(bytes));
	return bytes * UINT64_C(0x0102040810204080) >> 56;
}

static inline uint64_t select_pack64(const uint8_t flags[64])
{
	uint64_t bits = 0;

	for (size_t i = 0; i < 8; i++)
		bits |= select_pack8(flags + 8 * i) << 8 * i;
	return bits;
}

/* What becomes known, pass by pass, of the element with a rank. */
struct select {
	uint64_t rank;
	uint32_t top;	/* upper bits of its key, after the first pass */
	uint32_t key;	/* after the second */
	uint64_t below; /* elements with smaller upper bits, then keys */
	uint64_t equal; /* elements with its key, after the second */
	/*
	 * Of the elements with its key, in their order, the one numbered nth
	 * has this index; found by the third pass.
	 */
	uint64_t nth, index;
};

/* First pass: counts (SELECT_TOPS,). */
void select_count_tops(uint32_t *counts, const float *x, size_t n);
void select_fold_tops(uint64_t *sum, const uint32_t *counts);
void select_find_top(struct select *select, const uint64_t *counts);

/* Second: adds with tally() to counts (SELECT_LOWS,) of elements of one top. */
void select_count_lows(uint64_t *counts, uint32_t top, const float *x,
		       size_t n);
void select_find_key(struct select *select, const uint64_t *counts);

/* Third: marks (bits,) elements with this key, from bit `at` on. */
void select_mark(uint64_t *marks, size_t at, uint32_t key, const float *x,
		 size_t n);

/* seen: marks folded so far. True when the nth was among these of a piece. */
bool select_fold_marks(const struct select *select, const uint64_t *marks,
		       size_t n_words, uint64_t *seen, uint64_t *ret_at);

/* Sum of the magnitudes, in f64, of one fixed shape. */
double select_sum(const float *x, size_t n);

/*
 * A cut between kept and dropped elements: keys below the limit are on its one
 * side, the others on its other; the limit is `before` for elements before the
 * index and `after` from there on.
 */
struct select_cut {
	uint32_t before, after;
	uint64_t index;
};

static inline uint32_t select_limit(const struct select_cut *cut, uint64_t at)
{
	return at < cut->index ? cut->before : cut->after;
}

#endif
