#include "util/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct hasher {
	XXH3_state_t *state;
};

static struct digest from_xxh(XXH128_hash_t hash)
{
	return (struct digest){.high = hash.high64, .low = hash.low64};
}

struct hasher *hasher_new(const char *domain)
{
	struct hasher *hasher = calloc(1, sizeof(*hasher));
	if (!hasher)
		return NULL;
	hasher->state = XXH3_createState();
	if (!hasher->state) {
		free(hasher);
		return NULL;
	}
	XXH3_128bits_reset(hasher->state);
	hasher_string(hasher, domain);
	return hasher;
}

void hasher_free(struct hasher *hasher)
{
	if (!hasher)
		return;
	XXH3_freeState(hasher->state);
	free(hasher);
}

static void update(struct hasher *hasher, char tag, const void *data,
		   size_t size)
{
	unsigned char head[9] = {(unsigned char)tag};
	for (unsigned i = 0; i < 8; i++)
		head[i + 1] = (unsigned char)((uint64_t)size >> (8 * i));
	XXH3_128bits_update(hasher->state, head, sizeof(head));
	if (size > 0)
		XXH3_128bits_update(hasher->state, data, size);
}

void hasher_bytes(struct hasher *hasher, const void *data, size_t size)
{
	update(hasher, 'b', data, size);
}

void hasher_part(struct hasher *hasher, const void *data, size_t size)
{
	XXH3_128bits_update(hasher->state, data, size);
}

void hasher_string(struct hasher *hasher, const char *text)
{
	update(hasher, text ? 's' : 'n', text, text ? strlen(text) : 0);
}

static void update_u64(struct hasher *hasher, char tag, uint64_t value)
{
	unsigned char bytes[8];
	for (unsigned i = 0; i < 8; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
	update(hasher, tag, bytes, sizeof(bytes));
}

void hasher_u64(struct hasher *hasher, uint64_t value)
{
	update_u64(hasher, 'u', value);
}

void hasher_f64(struct hasher *hasher, double value)
{
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	update_u64(hasher, 'f', bits);
}

void hasher_digest(struct hasher *hasher, struct digest value)
{
	update_u64(hasher, 'd', value.high);
	update_u64(hasher, 'd', value.low);
}

struct digest hasher_finish(const struct hasher *hasher)
{
	return from_xxh(XXH3_128bits_digest(hasher->state));
}

struct digest digest_of(const void *data, size_t size, uint64_t seed)
{
	return from_xxh(XXH3_128bits_withSeed(data, size, seed));
}

void digest_format(struct digest digest, char text[33])
{
	snprintf(text, 33, "%016" PRIx64 "%016" PRIx64, digest.high,
		 digest.low);
}
