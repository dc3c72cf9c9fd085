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

/* Room for keys behind those that are taken, which is written to. */
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

/* As many elements as there are, up to 64, and NaN, which are below no range.
 */
static inline void within_pad(float padded[64], const float *x, size_t n)
{
	memcpy(padded, x, n * sizeof(*x));
	for (size_t i = n; i < 64; i++)
		padded[i] = NAN;
}

static __attribute__((noinline)) uint64_t
within_find_few(const float *x, size_t n, uint32_t least, uint32_t most,
		uint32_t *below)
{
	float padded[64];

	within_pad(padded, x, n);
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

#ifdef __AVX512F__

static inline size_t within_take64(uint32_t *keys, const float x[64],
				   uint32_t least, uint32_t most,
				   uint32_t *below)
{
	__m512i first = _mm512_set1_epi32((int)least);
	__m512i wide = _mm512_set1_epi32((int)(most - least));
	__m512i magnitude = _mm512_set1_epi32((int)SELECT_MOST);
	__m512i n_below = _mm512_setzero_si512();
	size_t n = 0;

	for (size_t i = 0; i < 64; i += 16) {
		__m512i key =
			_mm512_and_si512(_mm512_loadu_si512(x + i), magnitude);
		__m512i place = _mm512_sub_epi32(key, first);
		__mmask16 within = _mm512_cmple_epu32_mask(place, wide);

		_mm512_storeu_si512(keys + n,
				    _mm512_maskz_compress_epi32(within, key));
		n += (unsigned)__builtin_popcount(within);
		n_below =
			_mm512_add_epi32(n_below, _mm512_srli_epi32(place, 31));
	}
	*below += (uint32_t)_mm512_reduce_add_epi32(n_below);
	return n;
}

#else

/* Some at once, whether there are as many or not, so that processors need not
 * guess how many. */
static inline size_t within_take64(uint32_t *keys, const float x[64],
				   uint32_t least, uint32_t most,
				   uint32_t *below)
{
	uint64_t bits = within_find64(x, least, most, below);
	size_t n = 0;

	while (bits)
		for (int i = 0; i < WITHIN_BATCH; i++) {
			keys[n] = select_bits(x[__builtin_ctzll(bits | !bits)]);
			n += bits != 0;
			bits &= bits - 1;
		}
	return n;
}

#endif

static __attribute__((noinline)) size_t
within_take_few(uint32_t *keys, const float *x, size_t n, uint32_t least,
		uint32_t most, uint32_t *below)
{
	uint32_t found[64 + WITHIN_MORE];
	float padded[64];

	within_pad(padded, x, n);
	size_t n_found = within_take64(found, padded, least, most, below);
	if (most == SELECT_MOST)
		n_found -= 64 - n; /* the last ones are of the padding */
	memcpy(keys, found, n_found * sizeof(*keys));
	return n_found;
}

/* Keys, but for NaN, of those of n elements, or of the first 64. Returns how
 * many they are. */
static inline size_t within_take(uint32_t *keys, const float *x, size_t n,
				 uint32_t least, uint32_t most, uint32_t *below)
{
	if (most >= SELECT_NAN)
		most = SELECT_MOST;
	return n < 64 ? within_take_few(keys, x, n, least, most, below)
		      : within_take64(keys, x, least, most, below);
}

#endif
