#include "merge/kernels/select.h"

#include <math.h>

#include "merge/kernels/within.h"
#include "merge/methods/method.h"
#include "util/macros.h"

#define CHUNK TILE /* keys that are found side by side, then counted */

#define TOPS 32768u /* values of the upper 15 bits of a key */
#define LOWS 65536u /* values of the lower 16 bits */

/*
 * A sample has a group of elements of every stride; a group is near in memory,
 * yet not so large that those of one row outweigh the others. Of small tensors
 * there is no use in less than so many groups.
 */
#define GROUP 64
#define GROUPS_LEAST 1024
#define STRIDE_MOST 16384

#define BAG_KEYS SELECT_ENTRIES /* different keys that a bag holds */
#define BAG_SLOTS (2 * BAG_KEYS)
#define HAUL_KEYS (UINT64_C(1) << 21) /* of all cuts together, about */
#define HEAD 0x80000000u	      /* in no key */

/* Upper bits of the keys of few elements: more than a piece has in a sample are
 * left out. */
struct sample_part {
	uint64_t n;
	uint16_t tops[PIECE / TILE * GROUP]; /* (n,) */
};

struct tops_part {
	uint32_t counts[TOPS];
};

struct tops_sum {
	uint64_t counts[TOPS];
};

struct lows_part {
	uint64_t below;
	uint32_t counts[LOWS];
};

struct lows_sum {
	uint64_t below;
	uint64_t counts[LOWS];
};

struct bag {
	uint64_t piece, below;
	uint32_t n, full;
	uint16_t slots[BAG_SLOTS];	       /* by hash: entry + 1 or 0 */
	struct select_entry entries[BAG_KEYS]; /* (n,) in order of their find */
};

struct haul {
	uint64_t below, n, full;
	struct select_entry entries[];
};

struct place {
	uint64_t seen, found, index;
};

/* Shared out among the cuts. At least a head and a key of each piece, which are
 * not as small as this. */
static uint64_t haul_room(unsigned n_cuts, uint64_t count)
{
	return (HAUL_KEYS + count / 256) / n_cuts + 4;
}

struct select_sizes select_sizes(enum select_pass pass, unsigned n_cuts,
				 uint64_t count)
{
	uint64_t room = haul_room(n_cuts, count);

	switch (pass) {
	case SELECT_SAMPLE:
		return (struct select_sizes){sizeof(struct sample_part),
					     sizeof(struct tops_sum)};
	case SELECT_TOPS:
		return (struct select_sizes){sizeof(struct tops_part),
					     sizeof(struct tops_sum)};
	case SELECT_LOWS:
		return (struct select_sizes){sizeof(struct lows_part),
					     sizeof(struct lows_sum)};
	case SELECT_LOCATE:
		return (struct select_sizes){sizeof(struct place),
					     sizeof(struct place)};
	default:
		return (struct select_sizes){
			sizeof(struct bag),
			sizeof(struct haul) +
				room * sizeof(struct select_entry)};
	}
}

static uint64_t find_stride(uint64_t count)
{
	uint64_t stride = TILE;

	while (stride < STRIDE_MOST && count / stride > GROUPS_LEAST)
		stride *= 2;
	return stride;
}

size_t select_reach(const struct select *cut, enum select_pass pass,
		    uint64_t piece, uint64_t first, size_t n, uint64_t count)
{
	if (pass == SELECT_SAMPLE)
		return first % find_stride(count) ? 0 : n < GROUP ? n : GROUP;
	if (pass == SELECT_LOCATE)
		return cut->nth && cut->piece == piece ? n : 0;
	return n;
}

static void add_sample(struct sample_part *part, const float *x, size_t n)
{
	for (size_t i = 0; i < n && part->n < ARRAY_SIZE(part->tops); i++)
		part->tops[part->n++] = (uint16_t)(select_key(x[i]) >> 16);
}

static void count_tops(uint32_t *counts, const float *x, size_t n)
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

static void count_lows(struct lows_part *part, const struct select *cut,
		       const float *x, size_t n)
{
	uint32_t below = 0;

	for (size_t at = 0; at < n; at += 64) {
		uint64_t bits = within_find(x + at, n - at, cut->least,
					    cut->most, &below);

		for (; bits; bits &= bits - 1) {
			size_t i = at + (unsigned)__builtin_ctzll(bits);
			part->counts[select_key(x[i]) - cut->least]++;
		}
	}
	part->below += below;
}

/* The entry of the key; BAG_KEYS: it found no room. */
static inline uint32_t put(struct bag *bag, uint32_t key)
{
	uint32_t slot = key * 0x9e3779b1u >> 18;
	_Static_assert(BAG_SLOTS == 1 << (32 - 18), "bits of a slot");

	while (bag->slots[slot]) {
		uint32_t entry = bag->slots[slot] - 1u;
		if (bag->entries[entry].key == key) {
			bag->entries[entry].count++;
			return entry;
		}
		slot = (slot + 1) % BAG_SLOTS;
	}
	if (bag->n == BAG_KEYS) {
		bag->full = 1;
		return BAG_KEYS;
	}
	bag->entries[bag->n++] = (struct select_entry){key, 1};
	bag->slots[slot] = (uint16_t)bag->n;
	return bag->n - 1;
}

size_t select_find(const struct select *cut, uint64_t piece, void *part,
		   const float *x, size_t n, struct select_found *found)
{
	/* In one page: writes that reach over two take long. */
	_Alignas(4096) uint32_t places[CHUNK + WITHIN_MORE];
	struct bag *bag = part;
	uint32_t below = 0;
	if (bag->full)
		return 0;

	size_t n_found =
		within_take(places, x, n, cut->least, cut->most, &below);
	bag->piece = piece;
	bag->below += below;
	for (size_t i = 0; i < n_found; i++) {
		uint32_t entry = put(bag, select_key(x[places[i]]));

		found[i] = (struct select_found){(uint16_t)places[i],
						 (uint16_t)entry};
	}
	return bag->full ? 0 : n_found;
}

static void fill_bag(struct bag *bag, const struct select *cut, uint64_t piece,
		     const float *x, size_t n)
{
	struct select_found found[CHUNK];

	for (size_t at = 0; at < n; at += CHUNK)
		select_find(cut, piece, bag, x + at,
			    n - at < CHUNK ? n - at : CHUNK, found);
}

static void find_place(struct place *place, const struct select *cut,
		       uint64_t first, const float *x, size_t n)
{
	uint32_t below = 0;

	for (size_t at = 0; at < n && !place->found; at += 64) {
		uint64_t bits =
			within_find(x + at, n - at, cut->key, cut->key, &below);
		unsigned more = (unsigned)__builtin_popcountll(bits);

		if (place->seen + more <= cut->skip) {
			place->seen += more;
			continue;
		}
		for (uint64_t i = place->seen; i < cut->skip; i++)
			bits &= bits - 1;
		place->found = 1;
		place->index = first + at + (unsigned)__builtin_ctzll(bits);
	}
}

void select_begin(void *part, enum select_pass pass)
{
	if (select_fills_bags(pass))
		memset(part, 0, offsetof(struct bag, entries));
	else if (pass == SELECT_SAMPLE)
		memset(part, 0, offsetof(struct sample_part, tops));
	else
		memset(part, 0, select_sizes(pass, 1, 0).part);
}

void select_scan(const struct select *cut, enum select_pass pass,
		 uint64_t piece, uint64_t first, void *part, const float *x,
		 size_t n)
{
	struct tops_part *tops = part;

	switch (pass) {
	case SELECT_SAMPLE:
		add_sample(part, x, n);
		break;
	case SELECT_TOPS:
		count_tops(tops->counts, x, n);
		break;
	case SELECT_LOWS:
		count_lows(part, cut, x, n);
		break;
	case SELECT_LOCATE:
		if (cut->nth && cut->piece == piece)
			find_place(part, cut, first, x, n);
		break;
	default:
		fill_bag(part, cut, piece, x, n);
	}
}

static void fold_counts(uint64_t *sum, const uint32_t *counts, size_t n)
{
	/* Most of them are zero: magnitudes are near each other. */
	for (size_t at = 0; at < n; at += 16) {
		uint32_t any = 0;

		for (size_t i = at; i < at + 16; i++)
			any |= counts[i];
		for (size_t i = at; any && i < at + 16; i++)
			sum[i] += counts[i];
	}
}

static void fold_bag(struct haul *haul, const struct bag *bag, uint64_t room)
{
	haul->below += bag->below;
	if (bag->full || haul->n + bag->n + 1 > room)
		haul->full = 1;
	if (haul->full || bag->n == 0)
		return;
	haul->entries[haul->n++] = (struct select_entry){
		HEAD | (uint32_t)(bag->piece >> 32), (uint32_t)bag->piece};
	memcpy(haul->entries + haul->n, bag->entries,
	       bag->n * sizeof(*bag->entries));
	haul->n += bag->n;
}

void select_fold(void *sum, const void *part, enum select_pass pass,
		 unsigned n_cuts, uint64_t count)
{
	const struct sample_part *sample = part;
	const struct tops_part *tops = part;
	const struct lows_part *lows = part;
	const struct place *place = part;
	struct tops_sum *tops_sum = sum;
	struct lows_sum *lows_sum = sum;

	switch (pass) {
	case SELECT_SAMPLE:
		for (uint64_t i = 0; i < sample->n; i++)
			tops_sum->counts[sample->tops[i]]++;
		break;
	case SELECT_TOPS:
		fold_counts(tops_sum->counts, tops->counts, TOPS);
		break;
	case SELECT_LOWS:
		lows_sum->below += lows->below;
		fold_counts(lows_sum->counts, lows->counts, LOWS);
		break;
	case SELECT_LOCATE:
		if (place->found)
			*(struct place *)sum = *place;
		break;
	default:
		fold_bag(sum, part, haul_room(n_cuts, count));
	}
}

/* The bin, of n, that holds the rank; below: elements before them all. */
static uint32_t find_bin(const uint64_t *counts, uint32_t n, uint64_t below,
			 uint64_t rank)
{
	uint32_t bin = 0;

	while (bin < n - 1 && below + counts[bin] <= rank)
		below += counts[bin++];
	return bin;
}

static uint32_t find_top(const uint64_t *tops, double rank)
{
	return find_bin(tops, TOPS, 0, (uint64_t)rank) << 16;
}

/* The range between two ranks of the sample of n. */
static void predict(struct select *cut, const uint64_t *tops, uint64_t n,
		    double margin, uint64_t count)
{
	double rank = (double)cut->rank / (double)count * (double)n;

	cut->least = rank > margin ? find_top(tops, rank - margin) : 0;
	cut->most = rank + margin < (double)n
			    ? find_top(tops, rank + margin) | 0xffff
			    : SELECT_MOST;
}

/* Elements of a group are alike, so that a rank deviates by about sqrt(n),
 * twice as much as it would otherwise. */
static void predict_by_groups(struct select *cut, const uint64_t *tops,
			      uint64_t count)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < TOPS; i++)
		n += tops[i];
	predict(cut, tops, n, 3 * sqrt((double)n) + 1, count);
}

void select_predict(struct select *cut, const float *x, size_t n, double margin,
		    uint64_t count)
{
	uint64_t tops[TOPS] = {};

	for (size_t i = 0; i < n; i++)
		tops[select_key(x[i]) >> 16]++;
	predict(cut, tops, n, margin, count);
}

static uint64_t count_below(const struct haul *haul, uint32_t key)
{
	uint64_t below = 0;

	for (uint64_t i = 0; i < haul->n; i++)
		below +=
			haul->entries[i].key < key ? haul->entries[i].count : 0;
	return below;
}

/* Of the equal elements, the first on the other side. */
static uint64_t find_nth(const struct select *cut)
{
	uint64_t lower = cut->rank - cut->below;

	if (cut->order == SELECT_EQUAL || lower == 0)
		return 0;
	return cut->order == SELECT_EARLIER ? cut->equal - lower : lower;
}

static void find_piece(struct select *cut, const struct haul *haul)
{
	uint64_t seen = 0;

	for (uint64_t i = 0; i < haul->n; i++) {
		const struct select_entry *entry = &haul->entries[i];
		if (entry->key & HEAD)
			cut->piece = (uint64_t)(entry->key & ~HEAD) << 32 |
				     entry->count;
		if (entry->key != cut->key)
			continue;
		if (seen + entry->count > cut->nth)
			break;
		seen += entry->count;
	}
	cut->skip = cut->nth - seen;
}

/* Was it in the bags? */
static bool find_in_haul(struct select *cut, const struct haul *haul)
{
	uint32_t least = cut->least, most = cut->most;
	if (haul->full || cut->rank < haul->below ||
	    cut->rank >= haul->below + count_below(haul, HEAD))
		return false;

	while (least < most) {
		uint32_t middle = least + (most - least) / 2 + 1;
		if (haul->below + count_below(haul, middle) <= cut->rank)
			least = middle;
		else
			most = middle - 1;
	}
	cut->key = least;
	cut->below = haul->below + count_below(haul, least);
	cut->equal = haul->below + count_below(haul, least + 1) - cut->below;
	cut->nth = find_nth(cut);
	if (cut->nth)
		find_piece(cut, haul);
	return true;
}

enum select_pass select_settle(struct select *cut, enum select_pass pass,
			       const void *sum, uint64_t count)
{
	const struct tops_sum *tops = sum;
	const struct lows_sum *lows = sum;
	const struct place *place = sum;

	switch (pass) {
	case SELECT_SAMPLE:
		predict_by_groups(cut, tops->counts, count);
		return SELECT_BAGS;
	case SELECT_TOPS:
		cut->least = find_bin(tops->counts, TOPS, 0, cut->rank) << 16;
		cut->most = cut->least | 0xffff;
		return SELECT_TOP_BAGS;
	case SELECT_LOWS:
		cut->least +=
			find_bin(lows->counts, LOWS, lows->below, cut->rank);
		cut->most = cut->least;
		return SELECT_KEY_BAGS;
	case SELECT_LOCATE:
		cut->index = place->index;
		return SELECT_DONE;
	default:
		if (!find_in_haul(cut, sum))
			return pass + 1;
		return cut->nth ? SELECT_LOCATE : SELECT_DONE;
	}
}

const struct select_entry *select_haul(const void *sum, uint64_t *ret_n)
{
	const struct haul *haul = sum;

	*ret_n = haul->n;
	return haul->entries;
}

uint64_t select_place(const void *part)
{
	const struct place *place = part;

	return place->found ? place->index : UINT64_MAX;
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
