/*
 * Content addresses: 128-bit XXH3 digests over typed, length-prefixed fields,
 * so that no two different sequences of fields feed the same bytes.
 *
 * Not a cryptographic hash: it names things we computed ourselves.
 */
#ifndef UTIL_HASH_H
#define UTIL_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
	uint64_t high, low;
};

struct hasher;

/* Never fails for lack of input; NULL only when memory is out. */
struct hasher *hasher_new(const char *domain);
void hasher_free(struct hasher *hasher);

void hasher_bytes(struct hasher *hasher, const void *data, size_t size);
void hasher_string(struct hasher *hasher, const char *text); /* NULL allowed */
void hasher_u64(struct hasher *hasher, uint64_t value);
void hasher_f64(struct hasher *hasher, double value); /* by its bits */
void hasher_digest(struct hasher *hasher, struct digest value);
/* Bytes whose number was hashed before, in pieces of any size. */
void hasher_part(struct hasher *hasher, const void *data, size_t size);
struct digest hasher_finish(const struct hasher *hasher);

/* Checksum of one run of bytes, seeded. */
struct digest digest_of(const void *data, size_t size, uint64_t seed);

static inline bool digest_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

/* 32 lower-case hex digits and a NUL. */
void digest_format(struct digest digest, char text[33]);

#endif
