/*
 * Products of 32-bit numbers, side by side in a vector register: compilers do
 * not find the one instruction that does it.
 */
#ifndef UTIL_PRODUCT_H
#define UTIL_PRODUCT_H

#include <stdint.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifdef __AVX2__
#define PRODUCTS 4
#else
#define PRODUCTS 2
#endif

typedef uint64_t products __attribute__((vector_size(PRODUCTS * 8)));

/* The lower halves of x times factor, all 64 bits. */
static inline products multiply_lower(products x, uint32_t factor)
{
#ifdef __AVX2__
	return (products)_mm256_mul_epu32((__m256i)x,
					  _mm256_set1_epi64x(factor));
#elif defined(__SSE2__)
	return (products)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(factor));
#else
	return (x & 0xffffffff) * factor;
#endif
}

#endif
