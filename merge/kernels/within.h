/*
 * Which elements have keys (select.h) within a range, both ends included. They
 * may be many or few, so nothing here branches on any of them. Any NaN is in a
 * range that has them. Elements below the range are counted on the way.
 */
#ifndef MERGE_KERNELS_WITHIN_H
#define MERGE_KERNELS_WITHIN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "merge/kernels/select.h"

/* Room behind the places that are taken, which is written to. */
#define WITHIN_MORE 16

#define WITHIN_BATCH 4 /* elements that are taken at once */

#ifdef __AVX2__

/* Of 64 elements a bit for each. */
static inline uint64_t within_find64(const float x[64], uint32_t least,
				     uint32_t most, uint32_t *below)
{
	__m256i magnitude = _mm256_set1_epi32((int)SELECT_MOST);
	__m256i first = _mm256_set1_epi32((int)least);
	__m256i wide = _mm256_set1_epi32((int)(most - least));
	uint32_t n_below[8];
	__m256i signs = _mm256_setzero_si256();
	uint64_t bits = 0;

	for (size_t i = 0; i < 64; i += 8) {
		__m256i some = _mm256_loadu_si256((const __m256i *)(x + i));
		__m256i place = _mm256_sub_epi32(
			_mm256_and_si256(some, magnitude), first);
		__m256i within = _mm256_cmpeq_epi32(
			_mm256_min_epu32(place, wide), place);

		bits |= (uint64_t)(uint32_t)_mm256_movemask_ps(
				_mm256_castsi256_ps(within))
			<< i;
		signs = _mm256_add_epi32(signs, _mm256_srli_epi32(place, 31));
	}
	_mm256_storeu_si256((__m256i *)n_below, signs);
	for (size_t i = 0; i < 8; i++)
		*below += n_below[i];
	return bits;
}

#else

static inline uint64_t within_find64(const float x[64], uint32_t least,
				     uint32_t most, uint32_t *below)
{
	uint8_t flags[64];
	uint32_t n_below = 0;

	for (size_t i = 0; i < 64; i++) {
		uint32_t place = select_bits(x[i]) - least;

		flags[i] = place <= most - least;
		n_below += place >> 31;
	}
	*below += n_below;
	return select_pack64(flags);
}

#endif

static __attribute__((noinline)) uint64_t
within_find_few(const float *x, size_t n, uint32_t least, uint32_t most,
		uint32_t *below)
{
	float padded[64];

	memcpy(padded, x, n * sizeof(*x));
	for (size_t i = n; i < 64; i++)
		padded[i] = NAN; /* not below any range */
	return within_find64(padded, least, most, below) &
	       ((UINT64_C(1) << n) - 1);
}

/* Of n elements, or of the first 64. */
static inline uint64_t within_find(const float *x, size_t n, uint32_t least,
				   uint32_t most, uint32_t *below)
{
	if (most >= SELECT_NAN)
		most = SELECT_MOST;
	return n < 64 ? within_find_few(x, n, least, most, below)
		      : within_find64(x, least, most, below);
}

/* Places of those of n elements: (n + WITHIN_MORE,). Returns how many there
 * are. */
#ifdef __AVX512F__

static inline size_t within_take(uint32_t *places, const float *x, size_t n,
				 uint32_t least, uint32_t most, uint32_t *below)
{
	__m512i magnitude = _mm512_set1_epi32((int)SELECT_MOST);
	__m512i first = _mm512_set1_epi32((int)least);
	__m512i wide = _mm512_set1_epi32(
		(int)((most >= SELECT_NAN ? SELECT_MOST : most) - least));
	__m512i at = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4,
				      3, 2, 1, 0);
	__m512i n_below = _mm512_setzero_si512();
	size_t n_taken = 0;

	for (size_t i = 0; i < n; i += 16) {
		__mmask16 some = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1)
					    : (__mmask16)0xffff;
		__m512i bits = _mm512_maskz_loadu_epi32(some, x + i);
		__m512i place = _mm512_sub_epi32(
			_mm512_and_si512(bits, magnitude), first);
		__mmask16 within =
			_mm512_mask_cmple_epu32_mask(some, place, wide);

		_mm512_storeu_si512(places + n_taken,
				    _mm512_maskz_compress_epi32(within, at));
		n_taken += (unsigned)__builtin_popcount(within);
		n_below = _mm512_mask_add_epi32(n_below, some, n_below,
						_mm512_srli_epi32(place, 31));
		at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
	}
	*below += (uint32_t)_mm512_reduce_add_epi32(n_below);
	return n_taken;
}

#else

/* Some at once, whether there are as many or not, so that processors need not
 * guess how many. */
static inline size_t within_take(uint32_t *places, const float *x, size_t n,
				 uint32_t least, uint32_t most, uint32_t *below)
{
	size_t n_taken = 0;

	for (size_t at = 0; at < n; at += 64) {
		uint64_t bits = within_find(x + at, n - at, least, most, below);

		while (bits)
			for (int i = 0; i < WITHIN_BATCH; i++) {
				unsigned place =
					(unsigned)__builtin_ctzll(bits | !bits);

				places[n_taken] = (uint32_t)at + place;
				n_taken += bits != 0;
				bits &= bits - 1;
			}
	}
	return n_taken;
}

#endif

#endif
