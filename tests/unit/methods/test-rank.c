/*
 * What is kept by rank is what the definition says, element by element but for
 * zeros: rows sorted, whole draws, in every instruction set.
 */
#define ISA base
#include "merge/kernels/rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/kernels/philox.h"
#include "merge/kernels/select.h"
#include "tests/unit/check.h"

#define MOST 20000
#define ELEMENTS 100000 /* of each kind of row and length, at least */

typedef void keep_fn(uint64_t *keep, const float *row, size_t n,
		     const struct rank_chances *chances, uint64_t key,
		     uint64_t nonce, uint64_t first);

#define ISA_ROW(name, runs) keep_fn rank_keep_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	keep_fn *keep;
} variants[] = {
#define ISA_ROW(name, runs) {#name, rank_keep_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

enum kind {
	KIND_NORMAL,   /* all bits are in use */
	KIND_TUNED,    /* small multiples of few units, half of them zero */
	KIND_NARROW,   /* within a bin, but for few */
	KIND_OUTLIERS, /* nearly all far below the largest */
	KIND_EQUAL,
	KIND_FEW,    /* a few values; half of them zeros of both signs */
	KIND_BROKEN, /* with infinities and NaN of any payload */
	KIND_COUNT,
};

struct entry {
	uint32_t key, index;
};

static uint64_t state;

static double number(void)
{
	state = state * UINT64_C(6364136223846793005) +
		UINT64_C(1442695040888963407);
	return (double)(state >> 11) * 0x1p-53;
}

static double normal(void)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += number();
	return sum;
}

static float element(enum kind kind)
{
	double x = normal();

	switch (kind) {
	case KIND_TUNED:
		return (float)(trunc(x) * ldexp(1, -(int)(4 * number())));
	case KIND_NARROW:
		return (float)(number() < 0.01 ? x : 100 + x * 1e-2);
	case KIND_OUTLIERS:
		return (float)(number() < 0.1 ? x * 1e6 : x);
	case KIND_EQUAL:
		return x < 0 ? -0.25f : 0.25f;
	case KIND_FEW:
		return number() < 0.5 ? (float)copysign(0, x)
				      : (float)copysign(ceil(3 * number()), x);
	case KIND_BROKEN:
		return number() < 0.02	 ? NAN
		       : number() < 0.02 ? select_value(0xff812345u)
		       : number() < 0.02 ? (float)copysign(INFINITY, x)
					 : (float)x;
	default:
		return (float)x;
	}
}

static int by_key(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static uint32_t draw_of(uint64_t key, uint64_t nonce, uint64_t e)
{
	uint8_t upper[2], lower[2];

	philox_fill(upper, key, nonce, 0, 2 * e, 2);
	philox_fill(lower, key, nonce, 1, 2 * e, 2);
	return (uint32_t)upper[1] << 24 | (uint32_t)upper[0] << 16 |
	       (uint32_t)lower[1] << 8 | lower[0];
}

/* kept: (n,) */
static void define(uint8_t *kept, const float *row, size_t n,
		   const struct rank_chances *chances, uint64_t first)
{
	static struct entry entries[MOST];
	double least = chances->least * 0x1p32;
	double step = (chances->most - chances->least) * 0x1p32 /
		      (double)(n > 1 ? n - 1 : 1);

	for (uint32_t i = 0; i < n; i++)
		entries[i] = (struct entry){select_key(row[i]), i};
	qsort(entries, n, sizeof(*entries), by_key);
	if (n == 1)
		least = (chances->least + chances->most) / 2 * 0x1p32;
	for (size_t rank = 0; rank < n; rank++) {
		uint32_t i = entries[rank].index;
		kept[i] = draw_of(11, 12, first + i) <
			  least + (double)rank * step;
	}
}

static void check_row(enum kind kind, size_t n, uint64_t first)
{
	static const struct rank_chances chances[] = {
		{0.4, 0.6}, {0.05, 0.95}, {0.7, 0.7001}, {-0.1, 1.2}};
	const struct rank_chances *own = &chances[first % 4];
	static float row[MOST];
	static uint8_t kept[MOST];
	static uint64_t keep[MOST / 64 + 2];

	for (size_t i = 0; i < n; i++)
		row[i] = element(kind);
	define(kept, row, n, own, first);
	for (const struct variant *v = variants; v->isa; v++) {
		if (!isa_find(v->isa))
			continue;
		keep[(n + 63) / 64] = 42;
		v->keep(keep, row, n, own, 11, 12, first);
		CHECK(keep[(n + 63) / 64] == 42);
		for (size_t i = 0; i < n; i++)
			CHECK((keep[i / 64] >> i % 64 & 1) == kept[i] ||
			      row[i] == 0);
	}
}

int main(void)
{
	static const size_t lengths[] = {1,   2,   10,	 63,   64,   65,
					 500, 513, 2048, 4096, 8192, MOST};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++)
		for (enum kind kind = 0; kind < KIND_COUNT; kind++)
			for (size_t at = 0; at < ELEMENTS; at += lengths[i])
				check_row(kind, lengths[i],
					  at + at / lengths[i]);
	for (size_t n = 1; n <= 5000; n += 1 + n / 40)
		for (enum kind kind = 0; kind < KIND_COUNT; kind++)
			check_row(kind, n, 7 * n + kind);
	return 0;
}
