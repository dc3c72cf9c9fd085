#include "merge/kernels/philox.h"

#include <string.h>

#include "util/product.h"

#define GROUP PHILOX_GROUP
#define BLOCKS 8 /* of a group */
#define ROUNDS 7

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

/* What a key comes to in each round. */
struct keys {
	products key0[ROUNDS], key1[ROUNDS];
};

static inline struct keys spread(uint64_t key)
{
	uint32_t key0 = (uint32_t)key, key1 = (uint32_t)(key >> 32);
	struct keys keys;

	for (int round = 0; round < ROUNDS; round++) {
		keys.key0[round] = (products){} + key0;
		keys.key1[round] = (products){} + key1;
		key0 += STEP0;
		key1 += STEP1;
	}
	return keys;
}

static inline void step(struct words *x, products key0, products key1)
{
	products a = multiply_lower(x->word[0], M0);
	products b = multiply_lower(x->word[2], M1);

	x->word[0] = (b >> 32) ^ (x->word[1] ^ key0);
	x->word[2] = (a >> 32) ^ (x->word[3] ^ key1);
	x->word[1] = b;
	x->word[3] = a;
}

static inline void rounds(struct words *x, struct words *y,
			  const struct keys *keys)
{
	for (int round = 0; round < ROUNDS; round++) {
		step(x, keys->key0[round], keys->key1[round]);
		step(y, keys->key0[round], keys->key1[round]);
	}
}

void philox_block(uint32_t out[4], const uint32_t counter[4],
		  const uint32_t key[2])
{
	struct keys keys = spread((uint64_t)key[1] << 32 | key[0]);
	struct words x = {}, unused = {};

	for (int i = 0; i < 4; i++)
		x.word[i][0] = counter[i];
	rounds(&x, &unused, &keys);
	for (int i = 0; i < 4; i++)
		out[i] = (uint32_t)x.word[i][0];
}

/* Counters of every other block from `block` on. */
static inline struct words counters(uint64_t block, uint64_t nonce)
{
	products number;

	for (unsigned i = 0; i < PRODUCTS; i++)
		number[i] = block + 2 * i;
	return (struct words){{
		number,
		number >> 32,
		(products){} + nonce,
		(products){} + (nonce >> 32),
	}};
}

/* Words of x and y by turns, those of a block BLOCKS words apart. */
static inline void put(uint8_t *out, const struct words *x,
		       const struct words *y)
{
	for (int w = 0; w < 4; w++) {
		products both = (x->word[w] & 0xffffffff) | y->word[w] << 32;

		memcpy(out + w * GROUP / 4, &both, sizeof(both));
	}
}

static void fill_groups(uint8_t *out, uint64_t key, uint64_t nonce,
			uint64_t block, size_t n)
{
	const struct keys keys = spread(key);

	for (size_t at = 0; at < n; at += GROUP, block += BLOCKS)
		for (unsigned i = 0; i < BLOCKS; i += AT_ONCE) {
			struct words x = counters(block + i, nonce);
			struct words y = counters(block + i + 1, nonce);

			rounds(&x, &y, &keys);
			put(out + at + i * 4, &x, &y);
		}
}

void philox_fill(uint8_t *out, uint64_t key, uint64_t nonce, unsigned level,
		 uint64_t first, size_t n)
{
	while (n > 0) {
		size_t skip = first % GROUP;
		size_t now = n / GROUP * GROUP;
		uint64_t block = (uint64_t)level << 62 | first / GROUP * BLOCKS;
		uint8_t own[GROUP];

		if (skip == 0 && now > 0) {
			fill_groups(out, key, nonce, block, now);
		} else {
			now = n < GROUP - skip ? n : GROUP - skip;
			fill_groups(own, key, nonce, block, GROUP);
			memcpy(out, own + skip, now);
		}
		out += now;
		first += now;
		n -= now;
	}
}
