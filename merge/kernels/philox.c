#include "merge/kernels/philox.h"

#include <string.h>

#include "util/product.h"

#define LANES 16
#define GROUP (4 * LANES) /* elements of LANES blocks side by side */
#define ROUNDS 10

/* Blocks that are worked on at once: two registers for each word, so that one
 * product need not wait for the other. */
#define AT_ONCE (2 * PRODUCTS)

/* Multipliers and key steps of the paper. */
#define M0 0xd2511f53u
#define M1 0xcd9e8d57u
#define STEP0 0x9e3779b9u
#define STEP1 0xbb67ae85u

/* The words of PRODUCTS blocks, each the lower half of a number; what is in the
 * upper halves does not matter. */
struct words {
	products word[4];
};

static inline void step(struct words *x, uint32_t key0, uint32_t key1)
{
	products a = multiply_lower(x->word[0], M0);
	products b = multiply_lower(x->word[2], M1);

	x->word[0] = (b >> 32) ^ x->word[1] ^ key0;
	x->word[2] = (a >> 32) ^ x->word[3] ^ key1;
	x->word[1] = b;
	x->word[3] = a;
}

static inline void rounds(struct words *x, struct words *y, uint64_t key)
{
	uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);

	for (int round = 0; round < ROUNDS; round++) {
		step(x, key0, key1);
		step(y, key0, key1);
		key0 += STEP0;
		key1 += STEP1;
	}
}

void philox_block(uint32_t out[4], const uint32_t counter[4],
		  const uint32_t key[2])
{
	struct words x = {}, unused = {};

	for (int i = 0; i < 4; i++)
		x.word[i][0] = counter[i];
	rounds(&x, &unused, (uint64_t)key[1] << 32 | key[0]);
	for (int i = 0; i < 4; i++)
		out[i] = (uint32_t)x.word[i][0];
}

/* Counters of the blocks from `block` on. */
static inline struct words counters(uint64_t block, uint64_t nonce)
{
	products number;

	for (unsigned i = 0; i < PRODUCTS; i++)
		number[i] = block + i;
	return (struct words){{
		number,
		number >> 32,
		(products){} + nonce,
		(products){} + (nonce >> 32),
	}};
}

/* Word w of block i goes to out[w * LANES + i]. */
static inline void put(uint32_t *out, const struct words *x)
{
	for (int w = 0; w < 4; w++)
		for (int i = 0; i < PRODUCTS; i++)
			out[w * LANES + i] = (uint32_t)x->word[w][i];
}

/* The GROUP elements from a multiple of GROUP on. */
static void fill_group(uint32_t *restrict out, uint64_t key, uint64_t nonce,
		       uint64_t group)
{
	for (int i = 0; i < LANES; i += AT_ONCE) {
		uint64_t block = group * LANES + (uint64_t)i;
		struct words x = counters(block, nonce);
		struct words y = counters(block + PRODUCTS, nonce);

		rounds(&x, &y, key);
		put(out + i, &x);
		put(out + i + PRODUCTS, &y);
	}
}

void philox_fill(uint32_t *out, uint64_t key, uint64_t nonce, uint64_t first,
		 size_t n)
{
	while (n > 0) {
		size_t skip = first % GROUP;
		size_t now = n < GROUP - skip ? n : GROUP - skip;
		uint32_t own[GROUP];

		if (now == GROUP) {
			fill_group(out, key, nonce, first / GROUP);
		} else {
			fill_group(own, key, nonce, first / GROUP);
			memcpy(out, own + skip, now * sizeof(*out));
		}
		out += now;
		first += now;
		n -= now;
	}
}

/* The 2 * GROUP elements from a multiple of that on. */
static void fill_halves(uint16_t *restrict out, uint64_t key, uint64_t nonce,
			uint64_t group)
{
	uint32_t words[GROUP];

	fill_group(words, key, nonce, group);
	for (int i = 0; i < GROUP; i++)
		out[i] = (uint16_t)words[i];
	for (int i = 0; i < GROUP; i++)
		out[GROUP + i] = (uint16_t)(words[i] >> 16);
}

void philox_fill_half(uint16_t *out, uint64_t key, uint64_t nonce,
		      uint64_t first, size_t n)
{
	while (n > 0) {
		size_t skip = first % (2 * GROUP);
		size_t left = 2 * GROUP - skip;
		size_t now = n < left ? n : left;
		uint16_t own[2 * GROUP];

		if (now == 2 * GROUP) {
			fill_halves(out, key, nonce, first / (2 * GROUP));
		} else {
			fill_halves(own, key, nonce, first / (2 * GROUP));
			memcpy(out, own + skip, now * sizeof(*out));
		}
		out += now;
		first += now;
		n -= now;
	}
}
