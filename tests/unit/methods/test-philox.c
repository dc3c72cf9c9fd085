/* The generator is the paper's, in every instruction set. */
#define ISA base
#include "merge/kernels/philox.h"

#include <string.h>

#include "tests/unit/check.h"

typedef void block_fn(uint32_t out[4], const uint32_t counter[4],
		      const uint32_t key[2]);
typedef void fill_fn(uint32_t *out, uint64_t key, uint64_t nonce,
		     uint64_t first, size_t n);
typedef void half_fn(uint16_t *out, uint64_t key, uint64_t nonce,
		     uint64_t first, size_t n);

#define ISA_ROW(name, runs)           \
	block_fn philox_block_##name; \
	fill_fn philox_fill_##name;   \
	half_fn philox_fill_half_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	block_fn *block;
	fill_fn *fill;
	half_fn *fill_half;
} variants[] = {
#define ISA_ROW(name, runs)                              \
	{#name, philox_block_##name, philox_fill_##name, \
	 philox_fill_half_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

/* Known answers of the authors' own program (Random123, philox4x32 10). */
static const struct {
	uint32_t counter[4], key[2], answer[4];
} known[] = {
	{.answer = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
	{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
	 {0xffffffff, 0xffffffff},
	 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
	{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
	 {0xa4093822, 0x299f31d0},
	 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

static void test_known_answers(const struct variant *variant)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		uint32_t out[4];

		variant->block(out, known[i].counter, known[i].key);
		CHECK(memcmp(out, known[i].answer, sizeof(out)) == 0);
	}
}

/* Element e of a stream: 16 blocks lie side by side, word by word. */
static uint32_t element(const struct variant *variant, uint64_t key,
			uint64_t nonce, uint64_t e)
{
	uint64_t block = e / 64 * 16 + e % 16;
	uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32),
			       (uint32_t)nonce, (uint32_t)(nonce >> 32)};
	uint32_t halves[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
	uint32_t out[4];

	variant->block(out, counter, halves);
	return out[e % 64 / 16];
}

/* Any range of a stream, also far behind 2^32 blocks. */
static void test_ranges(const struct variant *variant)
{
	static const uint64_t firsts[] = {0,  1,   63,
					  64, 100, ((uint64_t)1 << 36) - 70};
	const uint64_t key = 0x0123456789abcdef, nonce = 0xfedcba9876543210;
	uint32_t out[201];

	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++)
		for (size_t n = 0; n <= 200; n += 1 + n / 3) {
			out[n] = 42;
			variant->fill(out, key, nonce, firsts[i], n);
			CHECK(out[n] == 42);
			for (size_t e = 0; e < n; e++)
				CHECK(out[e] == element(variant, key, nonce,
							firsts[i] + e));
		}
}

static void test_halves(const struct variant *variant)
{
	static const uint64_t firsts[] = {0,   1,   127,
					  128, 200, ((uint64_t)1 << 36) - 140};
	const uint64_t key = 0x0123456789abcdef, nonce = 0xfedcba9876543210;
	uint16_t out[401];

	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++)
		for (size_t n = 0; n <= 400; n += 1 + n / 3) {
			out[n] = 42;
			variant->fill_half(out, key, nonce, firsts[i], n);
			CHECK(out[n] == 42);
			for (size_t k = 0; k < n; k++) {
				uint64_t e = firsts[i] + k;
				uint32_t whole = element(variant, key, nonce,
							 e / 128 * 64 + e % 64);
				CHECK(out[k] ==
				      (uint16_t)(whole >> e % 128 / 64 * 16));
			}
		}
}

int main(void)
{
	for (const struct variant *v = variants; v->isa; v++) {
		if (!isa_find(v->isa))
			continue;
		test_known_answers(v);
		test_ranges(v);
		test_halves(v);
	}
	return 0;
}
