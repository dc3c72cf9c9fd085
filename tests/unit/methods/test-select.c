/*
 * Order statistics against sorting, by every road: the range that a sample
 * tells; the upper bits, where it was wrong; the lower, where they say too
 * little.
 */
#define ISA base
#include "merge/kernels/select.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"

#define COUNT ((size_t)200003)
#define PIECE_SIZE ((size_t)65536)

typedef void select_scan_fn(const struct select *cut, enum select_pass pass,
			    uint64_t piece, uint64_t first, void *part,
			    const float *x, size_t n);

/* Every instruction set's own. */
#define ISA_ROW(name, runs) select_scan_fn select_scan_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	select_scan_fn *scan;
} variants[] = {
#define ISA_ROW(name, runs) {#name, select_scan_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

static float values[COUNT];
static uint64_t sorted[COUNT]; /* key, then index */
static unsigned passes;	       /* those that a cut took, a bit for each */

static double number(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) +
		UINT64_C(1442695040888963407);
	return (double)(state >> 11) * 0x1p-53;
}

static enum select_pass run_pass(struct select *cut, enum select_pass pass,
				 select_scan_fn *scan)
{
	struct select_sizes sizes = select_sizes(pass, 1, COUNT);
	void *sum = calloc(1, sizes.sum);
	CHECK(sum);

	passes |= 1u << pass;
	for (size_t piece = 0; piece < COUNT; piece += PIECE_SIZE) {
		void *part = malloc(sizes.part);
		CHECK(part);
		memset(part, 0xa5, sizes.part);
		select_begin(part, pass);
		for (size_t at = piece; at < COUNT && at < piece + PIECE_SIZE;
		     at += TILE) {
			size_t n = COUNT - at < TILE ? COUNT - at : TILE;
			n = select_reach(cut, pass, piece, at, n, COUNT);
			if (n > 0)
				scan(cut, pass, piece, at, part, values + at,
				     n);
		}
		select_fold(sum, part, pass, 1, COUNT);
		free(part);
	}
	pass = select_settle(cut, pass, sum, COUNT);
	free(sum);
	return pass;
}

/* The element at the rank, and the first on the other side of the cut. */
static void check_cut(const struct select *cut)
{
	uint32_t key = (uint32_t)(sorted[cut->rank] >> 32);
	size_t first = cut->rank, last = cut->rank + 1;

	while (first > 0 && sorted[first - 1] >> 32 == key)
		first--;
	while (last < COUNT && sorted[last] >> 32 == key)
		last++;
	CHECK(cut->key == key && cut->below == first);
	CHECK(cut->equal == last - first);

	uint64_t lower = cut->rank - first;
	uint64_t nth =
		cut->order == SELECT_EARLIER ? cut->equal - lower : lower;
	if (cut->order == SELECT_EQUAL || lower == 0)
		nth = 0;
	CHECK(cut->nth == nth);
	if (nth > 0)
		CHECK(cut->index == (uint32_t)sorted[first + nth]);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Some must take the passes that are wanted, bits as above, and none the
 * unwanted ones. */
static void check_values(unsigned wanted, unsigned unwanted)
{
	static const double shares[] = {0, 0.01, 0.3, 0.5, 0.9, 0.99999};

	for (size_t i = 0; i < COUNT; i++)
		sorted[i] = (uint64_t)select_key(values[i]) << 32 | i;
	passes = 0;
	qsort(sorted, COUNT, sizeof(*sorted), compare);
	for (const struct variant *v = variants; v->isa; v++) {
		for (int i = 0; isa_find(v->isa) && i < 18; i++) {
			enum select_pass pass = SELECT_SAMPLE;
			struct select cut = {
				.rank = (uint64_t)(shares[i / 3] * COUNT),
				.order = (enum select_order)(i % 3),
			};

			while (pass != SELECT_DONE)
				pass = run_pass(&cut, pass, v->scan);
			check_cut(&cut);
		}
	}
	CHECK((passes & wanted) == wanted);
	CHECK((passes & unwanted) == 0);
}

/* The difference of bf16 values: many are equal, and some are in between. */
static void test_rounded(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		float x = (float)(number() - 0.5);
		uint32_t bits;

		memcpy(&bits, &x, sizeof(bits));
		bits &= number() < 0.1 ? 0xfffff000 : 0xffff0000;
		memcpy(&values[i], &bits, sizeof(bits));
	}
	check_values(1u << SELECT_BAGS | 1u << SELECT_LOCATE,
		     1u << SELECT_TOPS);
}

static void test_many_values(void)
{
	for (size_t i = 0; i < COUNT; i++)
		values[i] = (float)((number() - 0.5) * (number() - 0.5));
	check_values(1u << SELECT_BAGS, 0);
}

static void test_few_values(void)
{
	for (size_t i = 0; i < COUNT; i++)
		values[i] = number() < 0.7 ? 0 : (float)(int)(number() * 4);
	check_values(1u << SELECT_BAGS | 1u << SELECT_LOCATE,
		     1u << SELECT_TOPS);
	for (size_t i = 0; i < COUNT; i++)
		values[i] = number() < 0.1 ? NAN : -INFINITY;
	check_values(1u << SELECT_BAGS | 1u << SELECT_LOCATE,
		     1u << SELECT_TOPS);
}

/* Where the sample looks nothing is as elsewhere. */
static void test_wrong_sample(void)
{
	for (size_t i = 0; i < COUNT; i++)
		values[i] = (float)(i % TILE < 64 ? 1e-20 * number()
						  : 2 + 5 * number());
	check_values(1u << SELECT_TOPS | 1u << SELECT_TOP_BAGS,
		     1u << SELECT_LOWS);
}

/* More values with the same upper bits than a bag holds, but for the first
 * pieces, and smaller ones. */
static void test_full_bags(void)
{
	for (size_t i = 0; i < COUNT; i++) {
		double place = i < 2 * PIECE_SIZE ? 0.5 : number();

		values[i] =
			(float)(number() < 0.2 ? number() : 1 + place * 0x1p-8);
	}
	check_values(1u << SELECT_LOWS | 1u << SELECT_KEY_BAGS, 0);
}

int main(void)
{
	test_rounded();
	test_many_values();
	test_few_values();
	test_wrong_sample();
	test_full_bags();
	return 0;
}
