/*
 * Most elements need no rank: a draw below the least chance keeps, one above
 * the most drops, whatever the rank. For the others a histogram of the upper
 * bits bounds the rank, which is nearly always enough. The rest is counted out,
 * or, where a bin holds much of the row, looked up in a histogram of the next
 * bits of that bin's elements.
 */
#include "merge/kernels/rank.h"

#include <stdbool.h>
#include <string.h>

#include "merge/kernels/philox.h"
#include "merge/kernels/select.h"

#define GROUP 64
#define CHUNK 1024
#define MOST_BINS 4096
#define STEP 16 /* bins; most of them are empty */

/* Shorter rows are counted out without a histogram. */
#define SHORT 256

/* A bin that would leave more elements undecided than this is looked into. */
#define MANY 4

struct ranking {
	uint64_t *keep;
	const float *row;
	size_t n;
	double least;	       /* as a draw: times 2^32 */
	double draws_per_rank; /* the chance of a rank more, as a draw */
	uint32_t sure, never;  /* draws below and from there on need no rank */
	uint64_t key, nonce, first;
};

static void set_kept(const struct ranking *ranking, size_t i, bool kept)
{
	ranking->keep[i / 64] |= (uint64_t)kept << i % 64;
}

/* Draws below this keep an element of this rank. */
static inline uint64_t limit_of(const struct ranking *ranking, uint64_t rank)
{
	double limit = ranking->least + (double)rank * ranking->draws_per_rank;
	uint64_t whole = limit > 0 ? (uint64_t)limit : 0;

	return whole + ((double)whole < limit);
}

static inline bool keeps(const struct ranking *ranking, uint32_t draw,
			 uint64_t rank)
{
	return draw < limit_of(ranking, rank);
}

/* The rank of element i by counting those below it. */
static uint64_t count_below(const struct ranking *ranking, size_t i)
{
	const float *row = ranking->row;
	uint32_t key = select_key(row[i]);
	uint32_t below = 0;

	for (size_t j = 0; j < i; j++)
		below += select_key(row[j]) <= key;
	for (size_t j = i; j < ranking->n; j++)
		below += select_key(row[j]) < key;
	return below;
}

/* Bit masks of a group: draws that keep, and draws that need a rank. */
static void sort_draws(const struct ranking *ranking, const uint32_t *draws,
		       uint64_t *ret_sure, uint64_t *ret_open)
{
	uint8_t sure[GROUP], open[GROUP];

	for (int i = 0; i < GROUP; i++) {
		sure[i] = draws[i] < ranking->sure;
		open[i] = draws[i] < ranking->never;
	}
	*ret_sure = *ret_open = 0;
	for (int i = 0; i < GROUP / 8; i++) {
		*ret_sure |= select_pack8(sure + 8 * i) << 8 * i;
		*ret_open |= select_pack8(open + 8 * i) << 8 * i;
	}
	*ret_open &= ~*ret_sure;
}

/* The bits of a key from the top down, level by level. */
static const struct level {
	unsigned shift, bits;
} levels[] = {{19, 12}, {7, 12}, {0, 7}};

/* The elements of one bin of the level above; at the first level, all. */
struct part {
	const struct level *level;
	uint32_t prefix; /* upper bits of their keys */
	uint64_t below;	 /* elements of the row below them */
};

static inline bool is_part(const struct part *part, uint32_t key)
{
	return key >> part->level->shift >> part->level->bits == part->prefix;
}

static inline uint32_t find_bin(const struct part *part, uint32_t key)
{
	return key >> part->level->shift & ((1u << part->level->bits) - 1);
}

/* Counts of a row's keys in the bins of the first level: nearly all work. */
static void count_all(const struct ranking *ranking, uint32_t *counts)
{
	const unsigned shift = levels[0].shift;

	uint32_t bins[CHUNK];

	for (size_t at = 0; at < ranking->n; at += CHUNK) {
		size_t left = ranking->n - at;
		size_t n = left < CHUNK ? left : CHUNK;

		for (size_t i = 0; i < n; i++)
			bins[i] = select_key(ranking->row[at + i]) >> shift;
		for (size_t i = 0; i < n; i++)
			counts[bins[i]]++;
	}
}

static void count_part(const struct ranking *ranking, const struct part *part,
		       uint32_t *counts)
{
	for (size_t i = 0; i < ranking->n; i++) {
		uint32_t key = select_key(ranking->row[i]);
		if (is_part(part, key))
			counts[find_bin(part, key)]++;
	}
}

/* From counts of STEP bins to the ranks at which they begin. */
static uint32_t add_up(uint32_t *bins, uint32_t begin)
{
	uint32_t any = 0;

	for (int i = 0; i < STEP; i++)
		any |= bins[i];
	if (!any) {
		for (int i = 0; i < STEP; i++)
			bins[i] = begin;
		return begin;
	}
	for (int i = 0; i < STEP; i++) {
		uint32_t size = bins[i];
		bins[i] = begin;
		begin += size;
	}
	return begin;
}

/* Ranks at which the bins begin; behind the last, that at which it ends. */
static void count_bins(const struct ranking *ranking, const struct part *part,
		       uint32_t *begins)
{
	uint32_t n_bins = 1u << part->level->bits;
	uint32_t begin = (uint32_t)part->below;

	memset(begins, 0, n_bins * sizeof(*begins));
	if (part->level == levels)
		count_all(ranking, begins);
	else
		count_part(ranking, part, begins);
	for (uint32_t bin = 0; bin < n_bins; bin += STEP)
		begin = add_up(begins + bin, begin);
	begins[n_bins] = begin;
}

/* Would so many elements of one bin leave too many undecided? */
static bool too_many(const struct ranking *ranking, double size)
{
	return size * size * ranking->draws_per_rank * 0x1p-32 > MANY;
}

/* Draws below `sure` keep every element of a bin, from `never` on none. */
struct bounds {
	uint64_t sure, never;
};

struct bins {
	uint32_t begins[MOST_BINS + 1];
	uint64_t marked[MOST_BINS / 64]; /* to be looked into */
	struct bounds bounds[MOST_BINS]; /* of bins with elements */
};

static void find_bounds(const struct ranking *ranking, struct bins *bins,
			uint32_t n_bins)
{
	const uint32_t *begins = bins->begins;

	for (uint32_t bin = 0; bin < n_bins; bin++) {
		if (bin % STEP == 0 && begins[bin] == begins[bin + STEP])
			bin += STEP - 1;
		else if (begins[bin] < begins[bin + 1])
			bins->bounds[bin] = (struct bounds){
				.sure = limit_of(ranking, begins[bin]),
				.never = limit_of(ranking, begins[bin + 1] - 1),
			};
	}
}

/* Decides element i where its bin's bounds do not, or marks the bin. */
static void decide_within(const struct ranking *ranking, struct bins *bins,
			  uint32_t bin, size_t i, uint32_t draw)
{
	uint32_t size = bins->begins[bin + 1] - bins->begins[bin];

	if (too_many(ranking, size))
		bins->marked[bin / 64] |= UINT64_C(1) << bin % 64;
	else
		set_kept(ranking, i,
			 keeps(ranking, draw, count_below(ranking, i)));
}

static inline void decide(const struct ranking *ranking,
			  const struct part *part, struct bins *bins, size_t i,
			  uint32_t draw)
{
	uint32_t bin = find_bin(part, select_key(ranking->row[i]));
	const struct bounds *bounds = &bins->bounds[bin];

	set_kept(ranking, i, draw < bounds->sure);
	if (draw - bounds->sure < bounds->never - bounds->sure)
		decide_within(ranking, bins, bin, i, draw);
}

/* Where bins are single keys, their elements have the ranks in order. */
static void decide_all(const struct ranking *ranking, const struct part *part,
		       uint32_t *begins)
{
	uint32_t draws[CHUNK];

	for (size_t at = 0; at < ranking->n; at += CHUNK) {
		size_t left = ranking->n - at;
		size_t n = left < CHUNK ? left : CHUNK;

		philox_fill((uint8_t *)draws, ranking->key, ranking->nonce, 0,
			    4 * (ranking->first + at), 4 * n);
		for (size_t i = 0; i < n; i++) {
			uint32_t key = select_key(ranking->row[at + i]);
			if (!is_part(part, key))
				continue;
			uint32_t rank = begins[find_bin(part, key)]++;
			set_kept(ranking, at + i,
				 keeps(ranking, draws[i], rank));
		}
	}
}

/* Decides the elements that draws leave open, by a bin or by counting. */
static void decide_open(const struct ranking *ranking, const struct part *part,
			struct bins *bins, bool first_time)
{
	uint32_t draws[CHUNK];

	for (size_t at = 0; at < ranking->n; at += GROUP) {
		size_t left = ranking->n - at;
		size_t n = left < GROUP ? left : GROUP;
		uint64_t open;

		if (at % CHUNK == 0)
			philox_fill((uint8_t *)draws, ranking->key,
				    ranking->nonce, 0,
				    4 * (ranking->first + at),
				    4 * (left < CHUNK ? left : CHUNK));
		uint64_t sure;
		sort_draws(ranking, draws + at % CHUNK, &sure, &open);
		if (n < GROUP)
			open &= (UINT64_C(1) << n) - 1;
		if (first_time)
			ranking->keep[at / GROUP] = sure;
		for (; open; open &= open - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(open);
			size_t i = at + bit;
			if (!bins)
				set_kept(ranking, i,
					 keeps(ranking, draws[at % CHUNK + bit],
					       count_below(ranking, i)));
			else if (is_part(part, select_key(ranking->row[i])))
				decide(ranking, part, bins, i,
				       draws[at % CHUNK + bit]);
		}
	}
}

static void rank_part(const struct ranking *ranking, const struct part *part);

/* Looks into a bin. */
static void rank_inner(const struct ranking *ranking, const struct part *part,
		       const struct bins *bins, uint32_t bin)
{
	struct part inner = {
		.level = part->level + 1,
		.prefix = part->prefix << part->level->bits | bin,
		.below = bins->begins[bin],
	};

	rank_part(ranking, &inner);
}

static void rank_part(const struct ranking *ranking, const struct part *part)
{
	uint32_t n_bins = 1u << part->level->bits;
	struct bins bins;

	count_bins(ranking, part, bins.begins);
	if (part->level->shift == 0) {
		decide_all(ranking, part, bins.begins);
		return;
	}
	find_bounds(ranking, &bins, n_bins);
	memset(bins.marked, 0, sizeof(bins.marked));
	decide_open(ranking, part, &bins, part->level == levels);
	for (uint32_t word = 0; word < n_bins / 64; word++)
		for (uint64_t left = bins.marked[word]; left; left &= left - 1)
			rank_inner(ranking, part, &bins,
				   word * 64 + (uint32_t)__builtin_ctzll(left));
}

/* A chance as a draw: draws are below it as often. */
static uint32_t draw_of(double chance)
{
	double draw = chance * 0x1p32;

	return draw <= 0	     ? 0
	       : draw >= 0xffffffffu ? 0xffffffffu
				     : (uint32_t)draw;
}

void rank_keep(uint64_t *keep, const float *row, size_t n,
	       const struct rank_chances *chances, uint64_t key, uint64_t nonce,
	       uint64_t first)
{
	struct part all = {.level = levels};
	double least = chances->least, most = chances->most;
	if (n == 1)
		least = most = (least + most) / 2;
	struct ranking ranking = {
		.keep = keep,
		.row = row,
		.n = n,
		.least = least * 0x1p32,
		.draws_per_rank =
			n > 1 ? (most - least) * 0x1p32 / (double)(n - 1) : 0,
		.sure = draw_of(least),
		.never = draw_of(most) + 1,
		.key = key,
		.nonce = nonce,
		.first = first,
	};

	if (n < SHORT)
		decide_open(&ranking, NULL, NULL, true);
	else
		rank_part(&ranking, &all);
}
