/*
 * Most draws are below the chance of any element of the row, or above it: only
 * those between the least chance and the most ask for a rank. A histogram of
 * the keys says at which rank each bin begins and ends, so which draws are
 * clear of what its elements' chances can be; that settles most of these, too.
 * The few others are counted out. Where a bin of several keys holds so many
 * elements that this would take long, that bin has a histogram of its own.
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
#define LANES 32
#define SLOTS (2 * BINS + 1)

/* Elements outside of the part that is looked at have this one. */
#define OUTSIDE (2 * BINS)

/* The key 0 of a whole row: zeros are the same whether they stay or not. */
#define ZEROS 0

/* Elements of a row that are worked on at once. */
#define WINDOW 16384

/* Shorter rows are counted out: one bin. */
#define SHORT 64
/* Longer ones have bins of half the width. */
#define LONG 4096

/* A bin that would leave more elements undecided than this is looked into. */
#define MANY 32

/* So many elements of a long row take as long to be counted out one by one as
 * the whole row does by slots. What each takes beside counting, in elements. */
#define FEW 256
#define FEW_COST 3072

struct ranking {
	uint64_t *keep;
	const float *row;
	size_t n;
	double least;	       /* as a draw: times 2^32 */
	double draws_per_rank; /* the chance of a rank more, as a draw */
	float least16, step16; /* the same, times 2^-16 */
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

/* Twice the bin, and 1 for all but the least key of it. low is 1. */
static inline uint32_t find_slot(const struct part *part, float x)
{
	uint32_t key = select_key(x) - part->from;
	int32_t place = (int32_t)(key >> part->shift);

	place = place < part->high ? place : part->high;
	uint32_t slot =
		2 * (uint32_t)place + ((uint32_t)place << part->shift != key);

	return key < part->size ? slot : OUTSIDE;
}

static void find_slots(uint16_t *restrict slots, const struct part *part,
		       const float *restrict x, size_t n)
{
	const struct part own = *part;

	for (size_t i = 0; i < n; i++)
		slots[i] = (uint16_t)find_slot(&own, x[i]);
}

/* The same where all elements are of the part: mostly in 16 bits, of which
 * twice as many are done at once. */
static void find_whole(uint16_t *restrict slots, const struct part *part,
		       const float *restrict x, size_t n)
{
	const uint32_t least = (UINT32_C(1) << part->shift) - 1;
	const unsigned shift = part->shift - 1;
	const uint16_t low = (uint16_t)(2 * (part->low - 1));
	const uint16_t high = (uint16_t)(2 * part->high + 1);

	for (size_t i = 0; i < n; i++) {
		uint32_t key = select_key(x[i]);
		uint16_t place =
			(uint16_t)((key >> shift | 1) - ((key & least) == 0));

		place = place < high ? place : high;
		uint16_t any = place < 1 ? place : 1;
		uint16_t slot = place > low ? place - low : 0;
		slots[i] = slot > any ? slot : any;
	}
}

static uint32_t count_slots(const struct part *part)
{
	return 2 * (uint32_t)(part->high - part->low + 2);
}

/* Draws of 16 bits that are below `kept` keep an element; those from there on
 * to `open` further are among the limits of its slot's ranks. */
struct limits {
	uint16_t kept, open;
};

struct bins {
	/* In halves, side by side: counting waits for the count before where
	 * that is of the same slot, as it often is. */
	uint32_t counts[2][SLOTS];
	uint32_t begins[SLOTS]; /* ranks at which slots begin */
	struct limits limits[SLOTS];
	bool deep[SLOTS]; /* to be looked into */
	bool any_deep;
};

/* A part of the row: slots, and the elements that these do not settle. */
struct window {
	size_t at, n, middle;
	uint16_t slots[WINDOW];
	size_t n_open;
	uint16_t open[WINDOW], draws[WINDOW]; /* (n_open,) by index */
};

static void fill_window(struct window *window, const struct ranking *ranking,
			const struct part *part, size_t at)
{
	size_t left = ranking->n - at;

	window->at = at;
	window->n = left < WINDOW ? left : WINDOW;
	window->middle = window->n / 2 / GROUP * GROUP;
	window->n_open = 0;
	if (part->whole)
		find_whole(window->slots, part, ranking->row + at, window->n);
	else
		find_slots(window->slots, part, ranking->row + at, window->n);
	for (size_t i = window->n; i % GROUP; i++)
		window->slots[i] = OUTSIDE;
}

static void count(struct bins *bins, const struct window *window)
{
	const uint16_t *back = window->slots + window->middle;
	size_t i = 0;

	for (; i < window->middle; i++) {
		bins->counts[0][window->slots[i]]++;
		bins->counts[1][back[i]]++;
	}
	for (; i < window->n - window->middle; i++)
		bins->counts[1][back[i]]++;
}

/* From counts to the ranks at which slots begin. */
static void add_up(struct bins *bins, uint32_t n_slots, uint32_t begin)
{
	for (uint32_t slot = 0; slot < n_slots; slot++) {
		bins->begins[slot] = begin;
		begin += bins->counts[0][slot] + bins->counts[1][slot];
	}
	bins->begins[n_slots] = begin;
}

static inline uint16_t as_draw(float limit)
{
	int32_t draw = (int32_t)limit;

	draw = draw > 0 ? draw : 0;
	return (uint16_t)(draw < 0xffff ? draw : 0xffff);
}

/* Of the ranks begin to less than end. In f32, so that they may be off by a
 * little. Chances may be outside 0 to 1. */
static inline struct limits find_limits(float least, float step, uint32_t begin,
					uint32_t end)
{
	float lowest = least + (float)(int32_t)begin * step;
	float highest = least + (float)((int32_t)end - 1) * step;
	uint16_t kept = as_draw(lowest - 0x1p-3f);

	return (struct limits){kept,
			       (uint16_t)(as_draw(highest + 0x1p-3f) - kept)};
}

static void set_limits(struct limits *restrict limits,
		       const uint32_t *restrict begins, uint32_t n_slots,
		       float least, float step)
{
	for (uint32_t slot = 0; slot < n_slots; slot++)
		limits[slot] = find_limits(least, step, begins[slot],
					   begins[slot + 1]);
}

static void fill_bins(const struct ranking *ranking, const struct part *part,
		      struct bins *bins, struct window *window)
{
	uint32_t n_slots = count_slots(part);

	for (int half = 0; half < 2; half++) {
		memset(bins->counts[half], 0, n_slots * sizeof(uint32_t));
		bins->counts[half][OUTSIDE] = 0;
	}
	memset(bins->deep, 0, sizeof(bins->deep));
	bins->any_deep = false;
	for (size_t at = 0; at < ranking->n; at += WINDOW) {
		fill_window(window, ranking, part, at);
		count(bins, window);
	}
	add_up(bins, n_slots, part->below);
	set_limits(bins->limits, bins->begins, n_slots, ranking->least16,
		   ranking->step16);
	bins->limits[OUTSIDE] = (struct limits){};
	if (part->whole)
		bins->limits[ZEROS] = (struct limits){};
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

/* How many elements of [begin, end) are in the slot? */
static uint32_t count_equal(const uint16_t *slots, uint16_t slot, size_t begin,
			    size_t end)
{
	uint16_t lanes[LANES] = {};
	uint32_t equal = 0;
	size_t at = begin;

	for (; at + LANES <= end; at += LANES)
		for (size_t i = 0; i < LANES; i++)
			lanes[i] += slots[at + i] == slot;
	for (size_t i = 0; at + i < end; i++)
		lanes[i] += slots[at + i] == slot;
	for (size_t i = 0; i < LANES; i++)
		equal += lanes[i];
	return equal;
}

/* How many before element i are in its slot, counted from where it is known. */
static uint32_t count_before(const struct bins *bins,
			     const struct window *window, size_t i)
{
	uint16_t slot = window->slots[i];

	if (i < window->middle / 2)
		return count_equal(window->slots, slot, 0, i);
	if (i < window->middle)
		return bins->counts[0][slot] -
		       count_equal(window->slots, slot, i, window->middle);
	return bins->counts[0][slot] +
	       count_equal(window->slots, slot, window->middle, i);
}

/* How many elements are below element i? */
static uint32_t count_below(const struct ranking *ranking, size_t i)
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

/* Which draws are below all limits of their slots, which among them? */
static void compare(uint8_t *restrict kept, uint8_t *restrict among,
		    const uint16_t *restrict draws,
		    const struct limits *restrict limits, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint16_t draw = draws[i];

		kept[i] = draw < limits[i].kept;
		among[i] = (uint16_t)(draw - limits[i].kept) <= limits[i].open;
	}
}

/* Four by four: by themselves, loads and stores of two bytes take longer. */
static void look_up(struct limits *restrict limits,
		    const struct limits *restrict table,
		    const uint16_t *restrict slots, size_t n)
{
	for (size_t i = 0; i < n; i += 4) {
		uint64_t some;

		memcpy(&some, slots + i, sizeof(some));
		limits[i] = table[some & 0xffff];
		limits[i + 1] = table[some >> 16 & 0xffff];
		limits[i + 2] = table[some >> 32 & 0xffff];
		limits[i + 3] = table[some >> 48];
	}
}

/* Elements outside are not this part's to keep. */
static void leave_out(uint8_t *restrict among, const uint16_t *restrict slots,
		      size_t n)
{
	for (size_t i = 0; i < n; i++)
		among[i] &= slots[i] != OUTSIDE;
}

static void find_open(struct window *window, size_t at, uint64_t open,
		      const uint16_t *draws)
{
	for (; open; open &= open - 1) {
		unsigned i = (unsigned)__builtin_ctzll(open);

		window->open[window->n_open] = (uint16_t)(at + i);
		window->draws[window->n_open++] = draws[i];
	}
}

static void decide_chunk(const struct ranking *ranking, const struct part *part,
			 const struct bins *bins, struct window *window,
			 size_t at)
{
	const uint16_t *slots = window->slots + at;
	size_t n = window->n - at < CHUNK ? window->n - at : CHUNK;
	struct limits limits[CHUNK];
	uint16_t draws[CHUNK];
	uint8_t kept[CHUNK], among[CHUNK];

	fill_draws(draws, ranking, 0, window->at + at, n);
	look_up(limits, bins->limits, slots, n);
	compare(kept, among, draws, limits, n);
	if (!part->whole)
		leave_out(among, slots, n);
	for (size_t i = n; i % GROUP; i++)
		kept[i] = among[i] = 0;
	for (size_t i = 0; i < n; i += GROUP) {
		ranking->keep[(window->at + at + i) / GROUP] |=
			select_pack64(kept + i);
		find_open(window, at + i, select_pack64(among + i), draws + i);
	}
}

static void decide_window(const struct ranking *ranking,
			  const struct part *part, const struct bins *bins,
			  struct window *window)
{
	for (size_t at = 0; at < window->n; at += CHUNK)
		decide_chunk(ranking, part, bins, window, at);
}

static void set_kept(const struct ranking *ranking, const struct window *window,
		     size_t open, uint32_t rank)
{
	size_t i = window->at + window->open[open];

	if (keeps(ranking, i, window->draws[open], rank))
		ranking->keep[i / GROUP] |= UINT64_C(1) << i % GROUP;
}

/* Elements of slots of one key: they are in the order of their ranks. */
static void settle_equal(const struct ranking *ranking, struct bins *bins,
			 const struct window *window)
{
	bool few = ranking->n <= WINDOW &&
		   window->n_open * (window->n + FEW_COST) <= FEW * window->n;
	uint32_t *next = bins->begins;
	size_t seen = 0;

	for (size_t open = 0; open < window->n_open; open++) {
		size_t i = window->open[open];
		uint32_t slot = window->slots[i];

		if (slot & 1)
			continue;
		if (few) {
			set_kept(ranking, window, open,
				 bins->begins[slot] +
					 count_before(bins, window, i));
			continue;
		}
		for (; seen < i; seen++)
			next[window->slots[seen]]++;
		set_kept(ranking, window, open, next[slot]);
	}
	for (; ranking->n > WINDOW && seen < window->n; seen++)
		next[window->slots[seen]]++;
}

/* The others: counted, or to be looked into. */
static void settle_among(const struct ranking *ranking, struct bins *bins,
			 const struct window *window)
{
	for (size_t open = 0; open < window->n_open; open++) {
		size_t i = window->open[open];
		uint32_t slot = window->slots[i];
		uint32_t size = bins->counts[0][slot] + bins->counts[1][slot];

		if (!(slot & 1))
			continue;
		if (too_many(ranking, size))
			bins->deep[slot] = bins->any_deep = true;
		else
			set_kept(ranking, window, open,
				 count_below(ranking, window->at + i));
	}
}

static void rank_part(const struct ranking *ranking, const struct part *part,
		      struct window *window);

/* Looks at those of a bin that have not its least key. */
static void rank_inner(const struct ranking *ranking, const struct part *part,
		       uint32_t slot, uint32_t below, struct window *window)
{
	uint32_t bin = slot / 2, last = count_slots(part) / 2 - 1;
	uint32_t begin = bin == 0 ? 0 : (uint32_t)part->low + bin - 1;
	uint32_t end = begin == 0 ? (uint32_t)part->low : begin + 1;
	struct part inner = {
		.from = part->from + (begin << part->shift) + 1,
		.low = 1,
		.high = BINS - 1,
		.below = below,
	};

	inner.size = (bin == last ? part->size : end << part->shift) -
		     (begin << part->shift) - 1;
	while (inner.size >> inner.shift >= BINS)
		inner.shift++;
	rank_part(ranking, &inner, window);
}

static void rank_part(const struct ranking *ranking, const struct part *part,
		      struct window *window)
{
	struct bins bins;

	fill_bins(ranking, part, &bins, window);
	for (size_t at = 0; at < ranking->n; at += WINDOW) {
		if (ranking->n > WINDOW)
			fill_window(window, ranking, part, at);
		decide_window(ranking, part, &bins, window);
		settle_among(ranking, &bins, window);
		settle_equal(ranking, &bins, window);
	}

	uint32_t below = part->below;
	for (uint32_t slot = 0; bins.any_deep && slot < count_slots(part);
	     slot++) {
		if (bins.deep[slot])
			rank_inner(ranking, part, slot, below, window);
		below += bins.counts[0][slot] + bins.counts[1][slot];
	}
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
	struct window window;
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
		.least16 = (float)(least * 0x1p16),
		.key = key,
		.nonce = nonce,
		.first = first,
	};

	ranking.step16 = (float)(ranking.draws_per_rank * 0x1p-16);
	memset(keep, 0, (n + GROUP - 1) / GROUP * sizeof(*keep));
	rank_part(&ranking, &part, &window);
}
