/*
 * Order statistics: which of all elements has a given rank by magnitude,
 * exactly, and where it is among equal ones; mostly in one pass.
 *
 * The key of an element is the bits of its magnitude, 31 of them: the order of
 * keys is that of magnitudes, NaN above infinity. Ranks ascend from 0. A *cut*
 * is the place of a rank.
 *
 * A sample tells a range of keys that the cut is likely in. One pass then
 * counts the elements below the range, and puts those in it into *bags*: of
 * every piece its keys, and how often each. That settles the cut, and the piece
 * in which it falls among equal elements; that piece alone is looked at once
 * more. Where the range was wrong or the bags are full, histograms of the upper
 * bits of all keys, then of the lower, give a range that is right, and one that
 * is a single key: what is found never depends on the sample.
 *
 * One cut goes through select_scan(), select_fold() and select_settle() in all
 * passes; several cuts do together, in parts and sums of their own.
 */
#ifndef MERGE_KERNELS_SELECT_H
#define MERGE_KERNELS_SELECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "merge/kernels/isa.h"

#define SELECT_MOST 0x7fffffffu	      /* above all keys; or a NaN */
#define SELECT_NOT_FINITE 0x7f800000u /* the key of infinity */

#define SELECT_NAN                                                \
	0x7fc00000u /* the key of every NaN that arithmetic gives \
		     */

#define select_sizes ISA_NAME(select_sizes)
#define select_reach ISA_NAME(select_reach)
#define select_begin ISA_NAME(select_begin)
#define select_scan ISA_NAME(select_scan)
#define select_find ISA_NAME(select_find)
#define select_fold ISA_NAME(select_fold)
#define select_settle ISA_NAME(select_settle)
#define select_predict ISA_NAME(select_predict)
#define select_haul ISA_NAME(select_haul)
#define select_place ISA_NAME(select_place)
#define select_sum ISA_NAME(select_sum)

/* The key, unless it is a NaN. */
static inline uint32_t select_bits(float x)
{
	uint32_t bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits & 0x7fffffff;
}

static inline uint32_t select_key(float x)
{
	uint32_t bits = select_bits(x);

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

#ifdef __SSE2__
	for (size_t i = 0; i < 4; i++) {
		__m128i some =
			_mm_loadu_si128((const __m128i *)(flags + 16 * i));
		__m128i signs = _mm_slli_epi16(some, 7);

		bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(signs) << 16 * i;
	}
	return bits;
#endif

	for (size_t i = 0; i < 8; i++)
		bits |= select_pack8(flags + 8 * i) << 8 * i;
	return bits;
}

/* The passes, in their order; most cuts need few of them. */
enum select_pass {
	SELECT_SAMPLE,
	SELECT_BAGS,
	SELECT_TOPS, /* the range was wrong, or too much in it */
	SELECT_TOP_BAGS,
	SELECT_LOWS, /* still too much */
	SELECT_KEY_BAGS,
	SELECT_LOCATE, /* the cut is among equal elements */
	SELECT_DONE,
};

/* Which of equal elements counts as the larger? */
enum select_order {
	SELECT_EQUAL, /* no matter */
	SELECT_LATER,
	SELECT_EARLIER,
};

struct select {
	uint64_t rank; /* below the number of elements */
	enum select_order order;
	uint32_t least, most; /* the range of keys, both included */
	uint32_t key;	      /* of the element with the rank */
	uint64_t below;	      /* elements with smaller keys */
	uint64_t equal;	      /* elements with this key */
	/*
	 * Of the elements with this key, in their order, the one numbered nth
	 * is the first on the other side of the cut; 0: all are on one side. It
	 * is the one numbered skip of those in its piece, and has this index.
	 */
	uint64_t nth, piece, skip, index;
};

/* Is what a pass gathers the same for all cuts of the same elements? */
static inline bool select_shared(enum select_pass pass)
{
	return pass == SELECT_SAMPLE || pass == SELECT_TOPS;
}

/* Does it put keys into bags? */
static inline bool select_fills_bags(unsigned pass)
{
	return pass == SELECT_BAGS || pass == SELECT_TOP_BAGS ||
	       pass == SELECT_KEY_BAGS;
}

/* Bytes of a pass for one cut of n_cuts, in a tensor of count elements. */
struct select_sizes {
	size_t part, sum;
};
struct select_sizes select_sizes(enum select_pass pass, unsigned n_cuts,
				 uint64_t count);

/* How many of the n elements from `first` on a pass needs. */
size_t select_reach(const struct select *cut, enum select_pass pass,
		    uint64_t piece, uint64_t first, size_t n, uint64_t count);

/* Zeroes what must be of a part before its piece is scanned, which is not all
 * of it. */
void select_begin(void *part, enum select_pass pass);

/* piece: its first element. */
void select_scan(const struct select *cut, enum select_pass pass,
		 uint64_t piece, uint64_t first, void *part, const float *x,
		 size_t n);
void select_fold(void *sum, const void *part, enum select_pass pass,
		 unsigned n_cuts, uint64_t count);

/* An element with a key in the range, of those that were scanned, and the
 * entry, below SELECT_ENTRIES, that the key has in the part. */
struct select_found {
	uint16_t place, entry;
};
#define SELECT_ENTRIES 8192u

/* As select_scan() in a pass that fills bags, of at most TILE elements; also
 * tells the elements: (n,). Returns how many; 0 where the bag is full. */
size_t select_find(const struct select *cut, uint64_t piece, void *part,
		   const float *x, size_t n, struct select_found *found);

/*
 * The pass that the cut needs next. rank and order are set before, and may be
 * as the pass has told; several cuts go on with the least of their passes.
 */
enum select_pass select_settle(struct select *cut, enum select_pass pass,
			       const void *sum, uint64_t count);

/* The range by n values drawn from count elements in another way than
 * SELECT_SAMPLE does. margin: by how much their ranks may deviate. */
void select_predict(struct select *cut, const float *x, size_t n, double margin,
		    uint64_t count);

/* Keys and how often they are, of all bags. */
struct select_entry {
	uint32_t key, count; /* a key above SELECT_MOST heads a piece's */
};
const struct select_entry *select_haul(const void *sum, uint64_t *ret_n);

/*
 * Are the elements of an entry above a cut that has been found? seen: those
 * with the cut's key in the entries before, added to. Of the entry with its key
 * in its piece some may be, too.
 */
static inline bool select_above(const struct select *cut,
				const struct select_entry *entry,
				uint64_t *seen)
{
	if (entry->key != cut->key)
		return entry->key > cut->key;
	*seen += entry->count;
	return cut->nth == 0 || *seen <= cut->nth;
}

/* The index at which a part of SELECT_LOCATE has the cut; UINT64_MAX: it has
 * not come to it. */
uint64_t select_place(const void *part);

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

/* How many of n elements from `at` on have one limit. */
static inline size_t select_run(const struct select_cut *cut, uint64_t at,
				size_t n)
{
	return cut->index > at && cut->index - at < n
		       ? (size_t)(cut->index - at)
		       : n;
}

#endif
