/*
 * Packs bytes of which nearly all lie within eight neighbouring values, as the
 * exponents of weights do: three bits each, and a list of those that do not.
 * Several times faster than entropy coding, both ways, and a little larger.
 */
#ifndef CACHE_PACK_H
#define CACHE_PACK_H

#include <stddef.h>

/* Packs n bytes, at least 8. Returns the packed size, at most `room`, or 0
 * where it would be more or n is no multiple of 8. */
size_t pack(const unsigned char *data, size_t n, void *out, size_t room);

/* The n bytes that were packed. -EBADMSG for what cannot have been. */
int unpack(const void *in, size_t in_size, unsigned char *data, size_t n);

#endif
