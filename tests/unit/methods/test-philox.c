/* The generator is the paper's, in every instruction set. */
#define ISA base
#include "merge/kernels/philox.h"

#include <string.h>

#include "tests/unit/check.h"

typedef void block_fn(uint32_t out[4], const uint32_t counter[4],
		      const uint32_t key[2]);
typedef void fill_fn(uint8_t *out, uint64_t key, uint64_t nonce, unsigned level,
		     uint64_t first, size_t n);

#define ISA_ROW(name, runs)           \
	block_fn philox_block_##name; \
	fill_fn philox_fill_##name;
#include "merge/kernels/isa-list.def"
#undef ISA_ROW

static const struct variant {
	const char *isa;
	block_fn *block;
	fill_fn *fill;
} variants[] = {
#define ISA_ROW(name, runs) {#name, philox_block_##name, philox_fill_##name},
#include "merge/kernels/isa-list.def"
#undef ISA_ROW
	{},
};

/* Known answers of the authors' own program (Random123, philox4x32 7). */
static const struct {
	uint32_t counter[4], key[2], answer[4];
} known[] = {
	{.answer = {0x5f6fb709, 0x0d893f64, 0x4f121f81, 0x4f730a48}},
	{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
	 {0xffffffff, 0xffffffff},
	 {0x5207ddc2, 0x45165e59, 0x4d8ee751, 0x8c52f662}},
	{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
	 {0xa4093822, 0x299f31d0},
	 {0x4dfccaba, 0x190a87f0, 0xc47362ba, 0xb6b5242a}},
};

static void test_known_answers(const struct variant *variant)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		uint32_t out[4];

		variant->block(out, known[i].counter, known[i].key);
		CHECK(memcmp(out, known[i].answer, sizeof(out)) == 0);
	}
}

/* Byte e of a stream: eight blocks lie side by side, word by word. */
static uint8_t byte(const struct variant *variant, uint64_t key, uint64_t nonce,
		    unsigned level, uint64_t e)
{
	uint64_t block = e / 128 * 8 + e % 32 / 4;
	uint32_t counter[4] = {(uint32_t)block,
			       (uint32_t)(block >> 32) | level << 30,
			       (uint32_t)nonce, (uint32_t)(nonce >> 32)};
	uint32_t halves[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
	uint32_t out[4];

	variant->block(out, counter, halves);
	return (uint8_t)(out[e % 128 / 32] >> e % 4 * 8);
}

/* Any range of a stream, also far behind 2^32 blocks. */
static void test_ranges(const struct variant *variant, unsigned level)
{
	static const uint64_t firsts[] = {0,   1,   127,
					  128, 200, ((uint64_t)1 << 36) - 140};
	const uint64_t key = 0x0123456789abcdef, nonce = 0xfedcba9876543210;
	uint8_t out[601];

	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++)
		for (size_t n = 0; n <= 600; n += 1 + n / 3) {
			out[n] = 42;
			variant->fill(out, key, nonce, level, firsts[i], n);
			CHECK(out[n] == 42);
			for (size_t e = 0; e < n; e++)
				CHECK(out[e] == byte(variant, key, nonce, level,
						     firsts[i] + e));
		}
}

int main(void)
{
	for (const struct variant *v = variants; v->isa; v++) {
		if (!isa_find(v->isa))
			continue;
		test_known_answers(v);
		for (unsigned level = 0; level < 4; level++)
			test_ranges(v, level);
	}
	return 0;
}
