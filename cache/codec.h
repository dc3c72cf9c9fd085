/*
 * Makes blocks of numbers smaller, without loss: the bytes of all elements are
 * sorted into planes (all lowest bytes, ..., all highest bytes), and every
 * plane is packed (pack.h) or entropy-coded where that wins, else kept as it
 * is.
 *
 * Before that each element is rotated left by one bit: so the exponent of a
 * bf16 or f32, nearly all that can be foretold of a weight, fills the highest
 * plane alone, and the sign goes where it hides among random bits.
 *
 * A codec is a workspace, for one thread at a time. It knows bytes only; the
 * width of an element is a hint, and any data comes back whole with any width.
 */
#ifndef CACHE_CODEC_H
#define CACHE_CODEC_H

#include <stddef.h>

#include "cache/block.h"
#include "util/macros.h"

struct codec;

/* Bytes that one codec takes, near enough. */
#define CODEC_SIZE ((size_t)7 << 19)

int codec_new(struct codec **ret);
void codec_free(struct codec *codec);
DEFINE_AUTO(codec, codec_free);

/* Room in the workspace to read encoded bytes into, with something before
 * them: on a boundary of CODEC_ALIGN, as direct I/O wants it. */
#define CODEC_ALIGN ((size_t)4096)
#define CODEC_INPUT (BLOCK_SIZE + CODEC_ALIGN)
void *codec_input(struct codec *codec);

/*
 * Encodes size bytes, at most BLOCK_SIZE. *ret lies in the workspace until it
 * is used again. Returns the encoded size, always less than size, or 0 where
 * nothing is won.
 */
size_t codec_encode(struct codec *codec, const void *data, size_t size,
		    unsigned width, const void **ret);

/*
 * Decodes into data, exactly size bytes. `in` may lie in codec_input(). Bytes
 * that codec_encode() never wrote give -EBADMSG or anything of that size.
 */
int codec_decode(struct codec *codec, const void *in, size_t in_size,
		 unsigned width, void *data, size_t size);

#endif
