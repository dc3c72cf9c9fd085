#include "merge/kernels/philox.h"

#include <string.h>

#define LANES 16
#define GROUP (4 * LANES) /* elements of LANES blocks side by side */
#define ROUNDS 10

/* Multipliers and key steps of the paper. */
#define M0 UINT64_C(0xd2511f53)
#define M1 UINT64_C(0xcd9e8d57)
#define STEP0 0x9e3779b9u
#define STEP1 0xbb67ae85u

/* Word w of the blocks is x[w]; key by value, as it moves on. */
static inline void rounds(uint32_t x[4][LANES], uint32_t key0, uint32_t key1)
{
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < LANES; i++) {
			uint64_t a = M0 * x[0][i], b = M1 * x[2][i];

			x[0][i] = (uint32_t)(b >> 32) ^ x[1][i] ^ key0;
			x[2][i] = (uint32_t)(a >> 32) ^ x[3][i] ^ key1;
			x[1][i] = (uint32_t)b;
			x[3][i] = (uint32_t)a;
		}
		key0 += STEP0;
		key1 += STEP1;
	}
}

void philox_block(uint32_t out[4], const uint32_t counter[4],
		  const uint32_t key[2])
{
	uint32_t x[4][LANES] = {};

	for (int i = 0; i < 4; i++)
		x[i][0] = counter[i];
	rounds(x, key[0], key[1]);
	for (int i = 0; i < 4; i++)
		out[i] = x[i][0];
}

/* The GROUP elements from a multiple of GROUP on. */
static void fill_group(uint32_t *restrict out, uint64_t key, uint64_t nonce,
		       uint64_t group)
{
	uint32_t x[4][LANES];

	for (int i = 0; i < LANES; i++) {
		uint64_t block = group * LANES + (uint64_t)i;

		x[0][i] = (uint32_t)block;
		x[1][i] = (uint32_t)(block >> 32);
		x[2][i] = (uint32_t)nonce;
		x[3][i] = (uint32_t)(nonce >> 32);
	}
	rounds(x, (uint32_t)key, (uint32_t)(key >> 32));
	memcpy(out, x, sizeof(x));
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
