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
#define BINS 512

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

/*
 * The row's elements by slot: counts, then the ranks at which they begin, then
 * counted up. In halves, which are gone through side by side: counting waits
 * for the count before where that is of the same slot, as it often is.
 */
struct bins {
	uint32_t begins[2 * BINS + 1];
	uint32_t next[2][2 * BINS + 1];
	uint64_t deep[2 * BINS / 64]; /* to be looked into */
	/* How far limits, as draws of 16 bits, may be off where a bin has
	 * several keys. */
	uint16_t among;
};

/* A part of each half of a row. */
struct span {
	size_t at[2], n[2];
};

/* The parts from `at` of each half on; false if there are none. */
static bool find_span(struct span *ret, size_t n, size_t at)
{
	size_t middle = n / 2 / GROUP * GROUP;
	const size_t ends[2] = {middle, n};

	ret->at[0] = at;
	ret->at[1] = middle + at;
	for (int half = 0; half < 2; half++) {
		size_t begin = ret->at[half], end = ends[half];
		size_t left = begin < end ? end - begin : 0;

		ret->n[half] = left < CHUNK ? left : CHUNK;
	}
	return ret->n[1] > 0;
}

static void count(const struct ranking *ranking, const struct part *part,
		  struct bins *bins)
{
	uint16_t slots[2][CHUNK];
	struct span span;

	for (size_t at = 0; find_span(&span, ranking->n, at); at += CHUNK) {
		size_t i = 0;

		for (int half = 0; half < 2; half++)
			find_slots(slots[half], part,
				   ranking->row + span.at[half], span.n[half]);
		for (; i < span.n[0]; i++) {
			bins->next[0][slots[0][i]]++;
			bins->next[1][slots[1][i]]++;
		}
		for (; i < span.n[1]; i++)
			bins->next[1][slots[1][i]]++;
	}
}

/* From counts to the ranks at which slots begin. */
static void add_up(struct bins *bins, uint32_t n_slots, uint32_t begin)
{
	for (uint32_t slot = 0; slot < n_slots; slot++) {
		uint32_t front = bins->next[0][slot];
		uint32_t back = bins->next[1][slot];

		bins->begins[slot] = begin;
		bins->next[0][slot] = begin;
		begin += front;
		bins->next[1][slot] = begin;
		begin += back;
	}
	bins->begins[n_slots] = begin;
}

/* The most elements of a bin that have not its least key. */
static uint32_t find_widest(const uint32_t *begins, uint32_t n_slots)
{
	uint32_t widest = 0;

	for (uint32_t slot = 1; slot < n_slots; slot += 2) {
		uint32_t size = begins[slot + 1] - begins[slot];
		widest = size > widest ? size : widest;
	}
	return widest;
}

static void fill_bins(const struct ranking *ranking, const struct part *part,
		      struct bins *bins)
{
	uint32_t n_slots = count_slots(part);

	for (int half = 0; half < 2; half++) {
		memset(bins->next[half], 0, n_slots * sizeof(uint32_t));
		bins->next[half][OUTSIDE] = 0;
	}
	memset(bins->deep, 0, sizeof(bins->deep));
	count(ranking, part, bins);
	add_up(bins, n_slots, part->below);

	double off = find_widest(bins->begins, n_slots) *
			     ranking->draws_per_rank * 0x1p-16 +
		     2;
	bins->among = (uint16_t)(off < 0xffff ? off : 0xffff);
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

/* In f32, so that a limit may be off by one. Chances may be outside 0 to 1. */
static void find_limits(uint16_t *restrict limits,
			const uint32_t *restrict ranks,
			const struct ranking *ranking, size_t n)
{
	const float least = (float)(ranking->least * 0x1p-16);
	const float step = (float)(ranking->draws_per_rank * 0x1p-16);

	for (size_t i = 0; i < n; i++) {
		float rank = (float)(int32_t)ranks[i];
		int32_t limit = (int32_t)(least + rank * step);

		limit = limit > 0 ? limit : 0;
		limits[i] = (uint16_t)(limit < 0xffff ? limit : 0xffff);
	}
}

/* Only draws that are further from the limit than it can be off are decided. */
static void compare(struct chunk *chunk, const uint16_t *restrict limits,
		    uint16_t among, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t draw = chunk->draws[i], limit = limits[i];
		uint16_t below = draw < limit ? limit - draw : 0;
		uint16_t above = draw > limit ? draw - limit : 0;
		uint16_t slack = chunk->slots[i] & 1 ? among : 1;
		bool within = chunk->slots[i] != OUTSIDE;

		chunk->kept[i] = within & (below > slack);
		chunk->open[i] = within & (below <= slack) & (above <= slack);
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

/* Ranks, by counting up. */
static void find_ranks(struct chunk halves[2], struct bins *bins,
		       const struct span *span)
{
	size_t i = 0;

	for (; i < span->n[0]; i++) {
		halves[0].ranks[i] = bins->next[0][halves[0].slots[i]]++;
		halves[1].ranks[i] = bins->next[1][halves[1].slots[i]]++;
	}
	for (; i < span->n[1]; i++)
		halves[1].ranks[i] = bins->next[1][halves[1].slots[i]]++;
}

static void decide_chunk(const struct ranking *ranking, struct bins *bins,
			 struct chunk *chunk, size_t at, size_t n)
{
	uint16_t limits[CHUNK];

	fill_draws(chunk->draws, ranking, 0, at, n);
	find_limits(limits, chunk->ranks, ranking, n);
	compare(chunk, limits, bins->among, n);
	for (size_t i = n; i % GROUP; i++)
		chunk->kept[i] = chunk->open[i] = 0;
	for (size_t begin = 0; begin < n; begin += GROUP)
		decide_group(ranking, bins, chunk, at, begin);
}

static void decide_span(const struct ranking *ranking, const struct part *part,
			struct bins *bins, const struct span *span)
{
	struct chunk halves[2];

	for (int half = 0; half < 2; half++)
		find_slots(halves[half].slots, part,
			   ranking->row + span->at[half], span->n[half]);
	find_ranks(halves, bins, span);
	for (int half = 0; half < 2; half++)
		decide_chunk(ranking, bins, &halves[half], span->at[half],
			     span->n[half]);
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
	struct span span;

	fill_bins(ranking, part, &bins);
	for (size_t at = 0; find_span(&span, ranking->n, at); at += CHUNK)
		decide_span(ranking, part, &bins, &span);
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
	const float *some = row + (n - n % SHORT) / 2;
	uint32_t most = 0;
	if (n < SHORT)
		return part;

	for (size_t i = 0; i < SHORT; i++) {
		uint32_t key = select_key(some[i]);
		most = key > most ? key : most;
	}
	part.shift = n < LONG ? 18 : 17;
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
