/*
 * BF16 as numbers, and rows of inputs that are not all of one kind: floats, or
 * *halves*, which is BF16 as it is stored, of any alignment.
 *
 * What a loop reads of a row goes through row_at(), with `halves` known when
 * the loop is compiled: it is compiled for either kind. To read halves where
 * they lie saves the way through a tile of floats, and what waits for memory
 * is done while other elements are computed.
 */
#ifndef MERGE_KERNELS_HALF_H
#define MERGE_KERNELS_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* For loops whose callers say `halves` as a constant. */
#define EITHER_KIND static inline __attribute__((always_inline))

static inline uint32_t bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline float float_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint16_t read_u16(const void *in, size_t i)
{
	uint16_t value;

	memcpy(&value, (const char *)in + i * sizeof(value), sizeof(value));
	return value;
}

static inline float from_bf16(uint32_t half)
{
	return float_of(half << 16);
}

EITHER_KIND float row_at(const float *row, size_t i, bool halves)
{
	return halves ? from_bf16(read_u16(row, i)) : row[i];
}

/* The same less that of the base, which may be NULL. */
EITHER_KIND float row_less(const float *row, const float *base, size_t i,
			   bool halves)
{
	float x = row_at(row, i, halves);

	return base ? x - row_at(base, i, halves) : x;
}

/* The row from element i on. */
static inline const float *row_from(const float *row, size_t i, bool halves)
{
	return halves ? (const float *)(const void *)((const char *)row +
						      i * sizeof(uint16_t))
		      : row + i;
}

/* Has the processor bring what is read soon. */
static inline void bring_near(const void *bytes, size_t size)
{
	for (size_t at = 0; at < size; at += 64)
		__builtin_prefetch((const char *)bytes + at);
}

/* Has the n halves behind n others brought near: those that a thread reads
 * next, mostly, while it computes with these. */
static inline void row_ahead(const float *row, size_t n)
{
	bring_near(row_from(row, n, true), n * sizeof(uint16_t));
}

#endif
