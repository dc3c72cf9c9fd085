/*
 * The codec and the frame: what comes back is what went in, whatever it was;
 * weights become smaller, noise does not grow; a frame with any byte changed
 * is not opened.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "cache/codec.h"
#include "cache/frame.h"
#include "cache/pack.h"
#include "tests/unit/check.h"

static uint64_t draw(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Near enough to a normal distribution. */
static float draw_weight(uint64_t *state)
{
	float sum = 0;

	for (unsigned i = 0; i < 8; i++)
		sum += (float)(draw(state) >> 40) / (float)(1 << 24) - 0.5f;
	return sum * 0.02f;
}

/* UNEVEN: BF16 of which half are zeros. */
enum kind { NOISE, ZEROS, STEPS, BF16, UNEVEN, F32, N_KINDS };

static void make(enum kind kind, unsigned char *data, size_t size)
{
	uint64_t state = 88172645463325252u + size;

	for (size_t i = 0; i < size; i++) {
		data[i] = kind == NOISE	  ? (unsigned char)draw(&state)
			  : kind == STEPS ? (unsigned char)(i / 1000)
					  : 0;
	}
	size_t width = kind == F32 ? 4 : 2;
	for (size_t i = 0; kind >= BF16 && i + width <= size; i += width) {
		float x = draw_weight(&state);
		if (kind == UNEVEN && draw(&state) % 2)
			x = 0;
		memcpy(data + i, (char *)&x + 4 - width, width);
	}
}

static void check_pair(struct codec *codec, enum kind kind, size_t size,
		       unsigned width)
{
	static unsigned char data[BLOCK_SIZE], back[BLOCK_SIZE];
	struct digest key = {1, size};
	struct frame frame;

	make(kind, data, size);
	memset(back, 0xa5, sizeof(back));
	frame_seal(codec, key, data, size, width, &frame);
	size_t total = sizeof(frame.header) + frame.header.stored;
	CHECK(frame.header.stored <= size);
	CHECK(frame_check(&frame.header, key, total) == 0);
	CHECK(frame_open(codec, &frame.header, frame.payload, back, size) == 0);
	CHECK(memcmp(data, back, size) == 0);

	double ratio = (double)frame.header.stored / (double)size;
	if (size < 100000 || size % 4 != 0)
		return;
	if (kind == NOISE)
		CHECK(frame.header.codec == 0);
	if (kind == ZEROS)
		CHECK(ratio < 0.01);
	if (kind == BF16 && width == 2)
		CHECK(ratio < 0.72);
	if (kind == UNEVEN && width == 2)
		CHECK(ratio < 0.62);
	if (kind == F32 && width == 4)
		CHECK(ratio < 0.86);
}

static void test_round_trips(struct codec *codec)
{
	static const size_t sizes[] = {
		1,	   2,	   63,	   64,	   100,	    1001,
		4096,	   100000, 100001, 524289, 1000002, BLOCK_SIZE - 1,
		BLOCK_SIZE};
	static const unsigned widths[] = {0, 1, 2, 3, 4, 8, 77};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (unsigned j = 0; j < ARRAY_SIZE(widths); j++) {
			for (enum kind kind = 0; kind < N_KINDS; kind++)
				check_pair(codec, kind, sizes[i], widths[j]);
		}
	}
}

/* Any byte of the whole, raw or encoded. */
static void test_changed(struct codec *codec, enum kind kind)
{
	enum { SIZE = 6000 };
	unsigned char data[SIZE], back[SIZE];
	unsigned char file[sizeof(struct frame_header) + SIZE];
	struct digest key = {3, 4};
	struct frame_header header;
	struct frame frame;

	make(kind, data, SIZE);
	frame_seal(codec, key, data, SIZE, 2, &frame);
	CHECK((frame.header.codec != 0) == (kind != NOISE));
	size_t total = sizeof(header) + frame.header.stored;
	memcpy(file, &frame.header, sizeof(header));
	memcpy(file + sizeof(header), frame.payload, frame.header.stored);
	for (size_t at = 0; at <= total; at++) {
		if (at < total)
			file[at] ^= (unsigned char)(1 << at % 8);
		memcpy(&header, file, sizeof(header));
		int r = frame_check(&header, key, total);
		if (r == 0)
			r = frame_open(codec, &header, file + sizeof(header),
				       back, SIZE);
		CHECK(r == (at < total ? -EBADMSG : 0));
		if (at < total)
			file[at] ^= (unsigned char)(1 << at % 8);
	}
	key.low++;
	CHECK(frame_check(&header, key, total) == -EBADMSG);
	key.low--;
	CHECK(frame_check(&header, key, total - 1) == -EBADMSG);
	CHECK(frame_open(codec, &header, file + sizeof(header), back,
			 SIZE - 1) == -EBADMSG);
}

/* The format is what it was; if this fails, directory.c needs another version.
 */
static void test_format(struct codec *codec)
{
	static const unsigned char zeros[4096];
	/* 2048 zeros of two bytes, as they were once encoded. */
	static const char coded[] =
		"\x14\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00"
		"\x00\x00\x00\x00\x28\xb5\x2f\xfd\x60\x00\x07\x55"
		"\x00\x00\x95\x3e\x00\x01\x00\xe9\x29\xf8\x41\x1a"
		"\x28\xb5\x2f\xfd\x60\x00\x07\x55\x00\x00\x95\x3e"
		"\x00\x01\x00\xe9\x29\xf8\x41\x1a";
	struct digest key = {5, 6};
	unsigned char data[4096] = {1};
	struct frame frame;

	frame_seal(codec, key, zeros, 64, 2, &frame);
	CHECK(sizeof(frame.header) == 56 && frame.header.codec == 0);
	CHECK(frame.header.sum_low == 0x52bb3f84eedb1aa2);
	CHECK(codec_decode(codec, coded, sizeof(coded) - 1, 2, data,
			   sizeof(data)) == 0);
	CHECK(memcmp(data, zeros, sizeof(data)) == 0);
}

#define N ((size_t)1 << 19)

/* Bytes around 250, so that the eight values wrap, with exceptions here and
 * there: every so many, after a first one. */
static size_t check_packed(size_t n, size_t first, size_t every, size_t room)
{
	static unsigned char data[N], back[N], out[2 * N];
	uint64_t state = n + every;

	for (size_t i = 0; i < n; i++)
		data[i] = (unsigned char)(250 + draw(&state) % 8);
	for (size_t i = first; i < n; i += every)
		data[i] = (unsigned char)(100 + i % 100);
	memset(out, 0xa5, sizeof(out));
	size_t size = pack(data, n, out, room);
	CHECK(size <= room && out[room] == 0xa5);
	if (size == 0)
		return 0;
	CHECK(unpack(out, size, back, n) == 0);
	CHECK(memcmp(data, back, n) == 0);
	CHECK(unpack(out, size - 1, back, n) == -EBADMSG);
	/* A gap that leads behind the end, just so. */
	uint16_t gap = (uint16_t)n;
	if (size > 8 + 3 * n / 8 && gap == n) {
		memcpy(out + 8 + 3 * n / 8, &gap, sizeof(gap));
		CHECK(unpack(out, size, back, n) == -EBADMSG);
	}
	return size;
}

static void test_pack(void)
{
	const size_t bits = 8 + 3 * N / 8;

	CHECK(check_packed(N, N, 1, N) == bits);
	CHECK(check_packed(N, N, 1, bits) == bits);
	CHECK(check_packed(N, N, 1, bits - 1) == 0);
	CHECK(check_packed(N, 0, 1000, N) == bits + 3 * 525);
	CHECK(check_packed(N, 7, 100, N) == bits + 3 * 5243);
	/* As far apart as two bytes can say, and further. */
	CHECK(check_packed(N, 0, 65535, N) == bits + 3 * 9);
	CHECK(check_packed(N, N - 1, 1, N) == bits + 3 * 9);
	CHECK(check_packed(N, 0, 100000, N) == bits + 3 * 11);
	/* One more than there is room for. */
	CHECK(check_packed(4096, 0, 64, 8 + 1536 + 3 * 64) > 0);
	CHECK(check_packed(4096, 0, 64, 8 + 1536 + 3 * 64 - 1) == 0);
	for (size_t n = 0; n < 100; n++)
		CHECK((check_packed(n, 3, 5, 1000) > 0) ==
		      (n >= 8 && n % 8 == 0));
}

int main(void)
{
	AUTO(codec) codec = NULL;

	CHECK(codec_new(&codec) == 0);
	test_round_trips(codec);
	test_changed(codec, NOISE);
	test_changed(codec, BF16);
	test_changed(codec, ZEROS);
	test_changed(codec, UNEVEN);
	test_pack();
	test_format(codec);
	return 0;
}
