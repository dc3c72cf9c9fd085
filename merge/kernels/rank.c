/*
 * A histogram of the keys says at which rank each bin begins. Counted up
 * through the row, this gives every element a rank: the right one where all of
 * a bin have one key, else one that is off by less than the bin is wide. Draws
 * that are clear of the limit of that rank by more than this are decided, side
 * by side. The few others are looked at one by one: by the limits of their own
 * bin, then by counting; or, where a bin holds so many of the row that counting
 * would take long, by a histogram of that bin.
 *
 * Every bin is two: its least key by itself, and the others. Differences of
 * numbers of few bits have few values, and many of them are equal; these then
 * have bins for themselves.
 */
#include "merge/kernels/rank.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "merge/kernels/philox.h"
#include "merge/kernels/select.h"

#define GROUP 64
#define CHUNK 512
#define BINS 1024

/* Elements outside of the part that is looked at have this one. */
#define OUTSIDE (2 * BINS)

/* Shorter rows are counted out: one bin. */
#define SHORT 64
/* Longer ones have bins of half the width. */
#define LONG 4096

/* A bin that would leave more elements undecided than this is looked into. */
#define MANY 32

struct ranking {
	uint64_t *keep;
	const float *row;
	size_t n;
	double least;	       /* as a draw: times 2^32 */
	double draws_per_rank; /* the chance of a rank more, as a draw */
	uint64_t key, nonce, first;
};

/*
 * The elements whose keys are `from` to less than from + size, and how they are
 * spread over bins: by their keys' distance from `from`, shifted. That, below
 * `low`, is bin 0; low is bin 1; what would be behind the last bin is in it.
 */
struct part {
	uint32_t from, size;
	unsigned shift;
	int32_t low, high;
	uint32_t below; /* elements of the row below them */
	bool whole;	/* all elements of the row */
};

/* Twice the bin, and 1 for all but the least key of it. */
static inline uint32_t find_slot(const struct part *part, float x, bool whole)
{
	uint32_t key = select_key(x) - part->from;
	int32_t place = (int32_t)(key >> part->shift);

	place = place < part->low ? 0 : place;
	place = place < part->high ? place : part->high;
	int32_t bin = place - (part->low - 1);
	uint32_t slot = 2 * (uint32_t)(bin < 0 ? 0 : bin) +
			((uint32_t)place << part->shift != key);

	return whole || key < part->size ? slot : OUTSIDE;
}

static void find_slots(uint16_t *restrict slots, const struct part *part,
		       const float *restrict x, size_t n)
{
	const struct part own = *part;

	if (own.whole)
		for (size_t i = 0; i < n; i++)
			slots[i] = (uint16_t)find_slot(&own, x[i], true);
	else
		for (size_t i = 0; i < n; i++)
			slots[i] = (uint16_t)find_slot(&own, x[i], false);
}

static uint32_t count_slots(const struct part *part)
{
	return 2 * (uint32_t)(part->high - part->low + 2);
}

/* Elements by slot, then the ranks at which these begin. */
struct bins {
	uint32_t begins[2 * BINS + 1];
	uint32_t next[2 * BINS + 1];
	uint64_t deep[2 * BINS / 64]; /* to be looked into */
	uint32_t widest;	      /* of those with several keys */
};

static void count(const struct ranking *ranking, const struct part *part,
		  uint32_t *counts)
{
	uint16_t slots[CHUNK];

	for (size_t at = 0; at < ranking->n; at += CHUNK) {
		size_t left = ranking->n - at;
		size_t n = left < CHUNK ? left : CHUNK;

		find_slots(slots, part, ranking->row + at, n);
		for (size_t i = 0; i < n; i++)
			counts[slots[i]]++;
	}
}

static void fill_bins(const struct ranking *ranking, const struct part *part,
		      struct bins *bins)
{
	uint32_t n_slots = count_slots(part), begin = part->below, widest = 0;

	memset(bins->next, 0, sizeof(bins->next));
	memset(bins->deep, 0, sizeof(bins->deep));
	count(ranking, part, bins->next);
	for (uint32_t slot = 0; slot < n_slots; slot += 2) {
		uint32_t equal = bins->next[slot];
		uint32_t others = bins->next[slot + 1];

		bins->begins[slot] = begin;
		bins->next[slot] = begin;
		begin += equal;
		bins->begins[slot + 1] = begin;
		bins->next[slot + 1] = begin;
		begin += others;
		widest = others > widest ? others : widest;
	}
	bins->begins[n_slots] = begin;
	bins->widest = widest;
}

/* Draws below this keep an element of this rank. */
static inline uint64_t limit_of(const struct ranking *ranking, uint64_t rank)
{
	double limit = ranking->least + (double)rank * ranking->draws_per_rank;
	uint64_t whole = limit > 0 ? (uint64_t)limit : 0;

	return whole + ((double)whole < limit);
}

/* Draws of 16 bits, of the upper (level 0) or of the lower half. */
static void fill_draws(uint16_t *draws, const struct ranking *ranking,
		       unsigned level, size_t at, size_t n)
{
	philox_fill((uint8_t *)draws, ranking->key, ranking->nonce, level,
		    2 * (ranking->first + at), 2 * n);
}

static bool keeps(const struct ranking *ranking, size_t i, uint32_t upper,
		  uint64_t rank)
{
	uint16_t lower;

	fill_draws(&lower, ranking, 1, i, 1);
	return (upper << 16 | lower) < limit_of(ranking, rank);
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

/* Would so many elements of one bin leave too many undecided? */
static bool too_many(const struct ranking *ranking, double size)
{
	return size * size * ranking->draws_per_rank * 0x1p-32 > MANY;
}

/* An element among others of its bin: does it stay, as far as is known yet? */
static bool decide_among(const struct ranking *ranking, struct bins *bins,
			 size_t i, uint32_t slot, uint32_t upper)
{
	uint32_t begin = bins->begins[slot], end = bins->begins[slot + 1];
	uint64_t draw = (uint64_t)upper << 16;

	if (draw + 0xffff < limit_of(ranking, begin))
		return true;
	if (draw >= limit_of(ranking, end - 1))
		return false;
	if (!too_many(ranking, end - begin))
		return keeps(ranking, i, upper, count_below(ranking, i));
	bins->deep[slot / 64] |= UINT64_C(1) << slot % 64;
	return false;
}

/* A part of a row: slots, ranks by them, and draws. */
struct chunk {
	uint16_t slots[CHUNK], draws[CHUNK];
	uint32_t ranks[CHUNK];
	uint8_t kept[CHUNK], open[CHUNK];
};

/*
 * In f32, so that a limit may be off by one: only what is further from it is
 * decided.
 */
static void compare(const struct ranking *ranking, const struct bins *bins,
		    struct chunk *chunk, size_t n)
{
	const float least = (float)(ranking->least * 0x1p-16);
	const float step = (float)(ranking->draws_per_rank * 0x1p-16);
	const int32_t among = (int32_t)((float)bins->widest * step) + 2;

	for (size_t i = 0; i < n; i++) {
		int32_t rank = (int32_t)chunk->ranks[i];
		int32_t limit = (int32_t)(least + (float)rank * step);
		int32_t beyond = chunk->draws[i] - limit;
		int32_t slack = chunk->slots[i] & 1 ? among : 1;
		bool within = chunk->slots[i] != OUTSIDE;

		chunk->kept[i] = within & (beyond < -slack);
		chunk->open[i] =
			within & (beyond >= -slack) & (beyond <= slack);
	}
}

static void decide_group(const struct ranking *ranking, struct bins *bins,
			 const struct chunk *chunk, size_t at, size_t begin)
{
	uint64_t kept = select_pack64(chunk->kept + begin);
	uint64_t open = select_pack64(chunk->open + begin);

	for (; open; open &= open - 1) {
		unsigned bit = (unsigned)__builtin_ctzll(open);
		size_t i = begin + bit;
		bool keep =
			chunk->slots[i] & 1
				? decide_among(ranking, bins, at + i,
					       chunk->slots[i], chunk->draws[i])
				: keeps(ranking, at + i, chunk->draws[i],
					chunk->ranks[i]);
		kept |= (uint64_t)keep << bit;
	}
	ranking->keep[(at + begin) / GROUP] |= kept;
}

static void decide_chunk(const struct ranking *ranking, const struct part *part,
			 struct bins *bins, size_t at, size_t n)
{
	struct chunk chunk;

	fill_draws(chunk.draws, ranking, 0, at, n);
	find_slots(chunk.slots, part, ranking->row + at, n);
	for (size_t i = 0; i < n; i++)
		chunk.ranks[i] = bins->next[chunk.slots[i]]++;
	compare(ranking, bins, &chunk, n);
	for (size_t i = n; i % GROUP; i++)
		chunk.kept[i] = chunk.open[i] = 0;
	for (size_t begin = 0; begin < n; begin += GROUP)
		decide_group(ranking, bins, &chunk, at, begin);
}

static void rank_part(const struct ranking *ranking, const struct part *part);

/* Looks at those of a bin that have not its least key. */
static void rank_inner(const struct ranking *ranking, const struct part *part,
		       const struct bins *bins, uint32_t slot)
{
	uint32_t bin = slot / 2, last = count_slots(part) / 2 - 1;
	uint32_t begin = bin == 0 ? 0 : (uint32_t)part->low + bin - 1;
	uint32_t end = begin == 0 ? (uint32_t)part->low : begin + 1;
	struct part inner = {
		.from = part->from + (begin << part->shift) + 1,
		.low = 1,
		.high = BINS - 1,
		.below = bins->begins[slot],
	};

	inner.size = (bin == last ? part->size : end << part->shift) -
		     (begin << part->shift) - 1;
	while (inner.size >> inner.shift >= BINS)
		inner.shift++;
	rank_part(ranking, &inner);
}

static void rank_part(const struct ranking *ranking, const struct part *part)
{
	struct bins bins;

	fill_bins(ranking, part, &bins);
	for (size_t at = 0; at < ranking->n; at += CHUNK) {
		size_t left = ranking->n - at;

		decide_chunk(ranking, part, &bins, at,
			     left < CHUNK ? left : CHUNK);
	}
	for (uint32_t word = 0; word < 2 * BINS / 64; word++)
		for (uint64_t left = bins.deep[word]; left; left &= left - 1)
			rank_inner(ranking, part, &bins,
				   word * 64 + (uint32_t)__builtin_ctzll(left));
}

/*
 * The whole row. Most magnitudes are within a few octaves, and the largest of
 * some is among the upper ones; so bins are spent on what is near below it.
 */
static struct part whole_row(const float *row, size_t n)
{
	struct part part = {.size = UINT32_C(1) << 31,
			    .shift = 31,
			    .low = 1,
			    .high = 0,
			    .whole = true};
	uint32_t most = 0;
	if (n < SHORT)
		return part;

	for (size_t i = 0; i < SHORT; i++) {
		uint32_t key = select_key(row[n / SHORT * i]);
		most = key > most ? key : most;
	}
	part.shift = n < LONG ? 17 : 16;
	int32_t n_bins = n < LONG ? BINS / 2 : BINS;
	part.high = (int32_t)((most + 0x800000) >> part.shift);
	part.low = part.high - (n_bins - 2);
	if (part.low < 1)
		part.low = 1;
	return part;
}

void rank_keep(uint64_t *keep, const float *row, size_t n,
	       const struct rank_chances *chances, uint64_t key, uint64_t nonce,
	       uint64_t first)
{
	struct part part = whole_row(row, n);
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
		.key = key,
		.nonce = nonce,
		.first = first,
	};

	memset(keep, 0, (n + GROUP - 1) / GROUP * sizeof(*keep));
	rank_part(&ranking, &part);
}
