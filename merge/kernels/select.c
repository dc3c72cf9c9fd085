#include "merge/kernels/select.h"

#include <math.h>

#define CHUNK 512 /* keys that are found side by side, then counted */

void select_count_tops(uint32_t *counts, const float *x, size_t n)
{
	uint32_t tops[CHUNK];

	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;

		for (size_t i = 0; i < now; i++)
			tops[i] = select_key(x[at + i]) >> 16;
		for (size_t i = 0; i < now; i++)
			counts[tops[i]]++;
	}
}

void select_fold_tops(uint64_t *sum, const uint32_t *counts)
{
	/* Most of them are zero: magnitudes are near each other. */
	for (size_t at = 0; at < SELECT_TOPS; at += 16) {
		uint32_t any = 0;

		for (size_t i = at; i < at + 16; i++)
			any |= counts[i];
		for (size_t i = at; any && i < at + 16; i++)
			sum[i] += counts[i];
	}
}

void select_find_top(struct select *select, const uint64_t *counts)
{
	uint64_t below = 0;
	uint32_t top = 0;

	while (top < SELECT_TOPS - 1 && below + counts[top] <= select->rank)
		below += counts[top++];
	select->top = top;
	select->below = below;
}

/*
 * Which of up to 64 elements have keys that, shifted, are `wanted`: a bit for
 * each. Without branches, as equal elements may be many or few.
 */
static inline uint64_t find_equal(const float *x, size_t n, unsigned shift,
				  uint32_t wanted)
{
	uint8_t flags[64];
	uint64_t bits = 0;

	if (n < 64) {
		for (size_t i = 0; i < n; i++)
			bits |= (uint64_t)(select_key(x[i]) >> shift == wanted)
				<< i;
		return bits;
	}
	for (size_t i = 0; i < 64; i++)
		flags[i] = select_key(x[i]) >> shift == wanted;
	return select_pack64(flags);
}

void select_count_lows(uint64_t *counts, uint32_t top, const float *x, size_t n)
{
	for (size_t at = 0; at < n; at += 64) {
		uint64_t bits =
			find_equal(x + at, n - at < 64 ? n - at : 64, 16, top);

		for (; bits; bits &= bits - 1) {
			size_t i = at + (unsigned)__builtin_ctzll(bits);
			__atomic_fetch_add(&counts[select_key(x[i]) & 0xffff],
					   1, __ATOMIC_RELAXED);
		}
	}
}

void select_find_key(struct select *select, const uint64_t *counts)
{
	uint64_t below = select->below;
	uint32_t low = 0;

	while (low < SELECT_LOWS - 1 && below + counts[low] <= select->rank)
		below += counts[low++];
	select->key = select->top << 16 | low;
	select->below = below;
	select->equal = counts[low];
}

void select_mark(uint64_t *marks, size_t at, uint32_t key, const float *x,
		 size_t n)
{
	for (size_t begin = 0; begin < n; begin += 64) {
		uint64_t bits = find_equal(
			x + begin, n - begin < 64 ? n - begin : 64, 0, key);
		size_t word = (at + begin) / 64, skip = (at + begin) % 64;

		marks[word] |= bits << skip;
		if (skip && bits >> (64 - skip))
			marks[word + 1] |= bits >> (64 - skip);
	}
}

bool select_fold_marks(const struct select *select, const uint64_t *marks,
		       size_t n_words, uint64_t *seen, uint64_t *ret_at)
{
	if (*seen > select->nth)
		return false;
	for (size_t i = 0; i < n_words; i++) {
		uint64_t word = marks[i];
		unsigned n = (unsigned)__builtin_popcountll(word);

		if (*seen + n <= select->nth) {
			*seen += n;
			continue;
		}
		for (uint64_t skip = select->nth - *seen; skip > 0; skip--)
			word &= word - 1;
		*seen = select->nth + 1;
		*ret_at = i * 64 + (unsigned)__builtin_ctzll(word);
		return true;
	}
	return false;
}

double select_sum(const float *x, size_t n)
{
	double lanes[16] = {};
	size_t at = 0;

	for (; at + 16 <= n; at += 16)
		for (size_t i = 0; i < 16; i++)
			lanes[i] += fabs((double)x[at + i]);
	for (size_t i = 0; at + i < n; i++)
		lanes[i] += fabs((double)x[at + i]);
	for (size_t width = 8; width > 0; width /= 2)
		for (size_t i = 0; i < width; i++)
			lanes[i] += lanes[i + width];
	return lanes[0];
}
