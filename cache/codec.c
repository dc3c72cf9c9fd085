#include "cache/codec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
/* For literalCompressionMode, which distributions' libraries have, too. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "cache/pack.h"
#include "util/range.h"

#define MAX_WIDTH 4
#define HUGE_PAGE ((size_t)2 << 20) /* where there are any */

/*
 * Planes of weights have no repetitions to find, only a histogram: at this
 * level zstd hardly looks for matches and spends its time on Huffman coding,
 * which is both smaller and several times faster here than level 1.
 */
#define LEVEL (-1000)

/* A sample of bytes tells what a plane is worth. */
#define SAMPLE 4096

/* Packed planes may take so much: with the other byte of a bf16 as it is, a
 * block is then at most 0.735 of itself. */
#define PACKED_MOST(size) ((size) / 32 * 15)

/* In the table of planes: this one is packed. */
#define PACKED ((uint32_t)1 << 31)

struct codec {
	ZSTD_CCtx *encoder;
	ZSTD_DCtx *decoder;
	unsigned char *planes; /* (BLOCK_SIZE,) owned */
	unsigned char *coded;  /* (HUGE_PAGE,) owned; for CODEC_INPUT bytes */
};

/* What precedes the planes: how long each is, with PACKED; full length: kept as
 * it is. */
struct plane_table {
	uint32_t sizes[MAX_WIDTH];
};

/* A read past the page cache goes to one place in memory then, not to hundreds
 * of pages: the disk of a virtual machine is several times faster so. */
static void *huge_alloc(void)
{
	void *page = aligned_alloc(HUGE_PAGE, HUGE_PAGE);

	if (page)
		madvise(page, HUGE_PAGE, MADV_HUGEPAGE);
	return page;
}

int codec_new(struct codec **ret)
{
	AUTO(codec) codec = calloc(1, sizeof(*codec));
	if (!codec)
		return -ENOMEM;
	codec->planes = aligned_alloc(64, BLOCK_SIZE);
	codec->coded = huge_alloc();
	codec->encoder = ZSTD_createCCtx();
	codec->decoder = ZSTD_createDCtx();
	if (!codec->planes || !codec->coded || !codec->encoder ||
	    !codec->decoder)
		return -ENOMEM;

	ZSTD_CCtx_setParameter(codec->encoder, ZSTD_c_compressionLevel, LEVEL);
	ZSTD_CCtx_setParameter(codec->encoder, ZSTD_c_literalCompressionMode,
			       ZSTD_ps_enable);
	ZSTD_CCtx_setParameter(codec->encoder, ZSTD_c_minMatch, 7);
	ZSTD_CCtx_setParameter(codec->encoder, ZSTD_c_hashLog, 6);
	*ret = TAKE(codec);
	return 0;
}

void codec_free(struct codec *codec)
{
	if (!codec)
		return;
	ZSTD_freeCCtx(codec->encoder);
	ZSTD_freeDCtx(codec->decoder);
	free(codec->planes);
	free(codec->coded);
	free(codec);
}

void *codec_input(struct codec *codec)
{
	return codec->coded;
}

static void split2(const unsigned char *data, size_t n, unsigned char *planes)
{
	unsigned char *low = planes, *high = planes + n;

	for (size_t i = 0; i < n; i++) {
		uint16_t x;
		memcpy(&x, data + 2 * i, 2);
		x = (uint16_t)(x << 1 | x >> 15);
		low[i] = (unsigned char)x;
		high[i] = (unsigned char)(x >> 8);
	}
}

static void join2(const unsigned char *const planes[], size_t n,
		  unsigned char *data)
{
	const unsigned char *low = planes[0], *high = planes[1];

	for (size_t i = 0; i < n; i++) {
		uint16_t x = (uint16_t)(low[i] | high[i] << 8);
		x = (uint16_t)(x >> 1 | x << 15);
		memcpy(data + 2 * i, &x, 2);
	}
}

static void split4(const unsigned char *data, size_t n, unsigned char *planes)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t x;
		memcpy(&x, data + 4 * i, 4);
		x = x << 1 | x >> 31;
		planes[i] = (unsigned char)x;
		planes[n + i] = (unsigned char)(x >> 8);
		planes[2 * n + i] = (unsigned char)(x >> 16);
		planes[3 * n + i] = (unsigned char)(x >> 24);
	}
}

static void join4(const unsigned char *const planes[], size_t n,
		  unsigned char *data)
{
	const unsigned char *a = planes[0], *b = planes[1];
	const unsigned char *c = planes[2], *d = planes[3];

	for (size_t i = 0; i < n; i++) {
		uint32_t x = a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 |
			     (uint32_t)d[i] << 24;
		x = x >> 1 | x << 31;
		memcpy(data + 4 * i, &x, 4);
	}
}

/* Other widths, and odd ends, make one plane of the bytes as they come. */
static unsigned n_planes(unsigned width, size_t size)
{
	return (width == 2 || width == 4) && size % width == 0 ? width : 1;
}

enum look {
	LOOK_RANDOM, /* less than a few per cent can be won */
	LOOK_SPREAD, /* over several values */
	LOOK_UNEVEN, /* there is one that prevails: entropy coding wins much */
};

/* By the chance that two bytes of the plane are equal, 1/256 where all are
 * equally frequent. */
static enum look look_at(const unsigned char *plane, size_t size)
{
	size_t step = size / SAMPLE + 1, n = 0;
	uint64_t counts[256] = {0}, pairs = 0;

	for (size_t i = 0; i < size; i += step, n++)
		counts[plane[i]]++;
	for (unsigned i = 0; i < 256; i++)
		pairs += counts[i] * (counts[i] - (counts[i] > 0));
	if (pairs * 256 * 4 < (uint64_t)n * n * 5)
		return LOOK_RANDOM;
	return pairs * 3 < (uint64_t)n * n ? LOOK_SPREAD : LOOK_UNEVEN;
}

/* Writes a plane to out, smaller if that wins. Returns its size there, or 0
 * where there is no room; *ret is that of the table. */
static size_t put_plane(struct codec *codec, const unsigned char *plane,
			size_t size, unsigned char *out, size_t room,
			uint32_t *ret)
{
	enum look look = look_at(plane, size);

	if (look == LOOK_SPREAD) {
		size_t n = pack(plane, size, out,
				min_u64(room, PACKED_MOST(size)));
		*ret = (uint32_t)n | PACKED;
		if (n > 0)
			return n;
	}
	*ret = (uint32_t)size;
	if (look != LOOK_RANDOM) {
		size_t least = size - size / 16;
		size_t n = ZSTD_compress2(codec->encoder, out,
					  min_u64(room, least), plane, size);
		if (!ZSTD_isError(n) && n < least) {
			*ret = (uint32_t)n;
			return n;
		}
	}
	if (size > room)
		return 0;
	memcpy(out, plane, size);
	return size;
}

size_t codec_encode(struct codec *codec, const void *data, size_t size,
		    unsigned width, const void **ret)
{
	unsigned n = n_planes(width, size);
	size_t plane_size = size / n;
	struct plane_table table = {{0}};
	size_t at = sizeof(table), most = size - size / 16;
	const unsigned char *planes = n > 1 ? codec->planes : data;

	if (size <= 4 * sizeof(table))
		return 0;
	if (n == 2)
		split2(data, plane_size, codec->planes);
	else if (n == 4)
		split4(data, plane_size, codec->planes);
	for (unsigned i = 0; i < n; i++) {
		size_t done =
			put_plane(codec, planes + i * plane_size, plane_size,
				  codec->coded + at, most > at ? most - at : 0,
				  &table.sizes[i]);
		if (done == 0)
			return 0;
		at += done;
	}
	memcpy(codec->coded, &table, sizeof(table));
	*ret = codec->coded;
	return at;
}

/* Where the plane's bytes are: in the input, or decoded into `room`. */
static const unsigned char *get_plane(struct codec *codec,
				      const unsigned char *in, size_t in_size,
				      bool packed, unsigned char *room,
				      size_t size)
{
	if (packed)
		return unpack(in, in_size, room, size) == 0 ? room : NULL;
	if (in_size == size)
		return in;
	return ZSTD_decompressDCtx(codec->decoder, room, size, in, in_size) ==
			       size
		       ? room
		       : NULL;
}

int codec_decode(struct codec *codec, const void *in, size_t in_size,
		 unsigned width, void *data, size_t size)
{
	unsigned n = n_planes(width, size);
	size_t plane_size = size / n;
	const unsigned char *planes[MAX_WIDTH] = {NULL};
	struct plane_table table;
	size_t at = sizeof(table);

	if (in_size < sizeof(table) || size > BLOCK_SIZE)
		return -EBADMSG;
	memcpy(&table, in, sizeof(table));
	for (unsigned i = 0; i < n; i++) {
		uint32_t coded = table.sizes[i] & ~PACKED;
		if (!range_within(at, coded, in_size))
			return -EBADMSG;
		planes[i] =
			get_plane(codec, (const unsigned char *)in + at, coded,
				  table.sizes[i] & PACKED,
				  codec->planes + i * plane_size, plane_size);
		if (!planes[i])
			return -EBADMSG;
		at += coded;
	}
	if (at != in_size)
		return -EBADMSG;
	if (n == 2)
		join2(planes, plane_size, data);
	else if (n == 4)
		join4(planes, plane_size, data);
	else
		memcpy(data, planes[0], size);
	return 0;
}
