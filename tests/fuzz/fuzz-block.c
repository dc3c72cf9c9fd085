/*
 * Block files: whatever lies in a cache, no more is written than the block's
 * size, and only what was sealed is opened. The codec is also fed directly,
 * since no checksum but the right one would let bytes through to it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache/codec.h"
#include "cache/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GUARD 64

/* Room for exactly `size` bytes and a guard behind them. */
static unsigned char *guarded(size_t size)
{
	unsigned char *room = malloc(size + GUARD);

	if (!room)
		abort();
	memset(room + size, 0xa5, GUARD);
	return room;
}

static void check_guard(const unsigned char *room, size_t size)
{
	for (size_t i = 0; i < GUARD; i++) {
		if (room[size + i] != 0xa5)
			abort();
	}
}

static void open_file(struct codec *codec, const uint8_t *data, size_t size)
{
	struct frame_header header;
	if (size < sizeof(header))
		return;

	memcpy(&header, data, sizeof(header));
	struct digest key = {header.key_high, header.key_low};
	if (frame_check(&header, key, size) < 0)
		return;
	AUTO_FREE unsigned char *room = guarded(header.size);
	int r = frame_open(codec, &header, data + sizeof(header), room,
			   header.size);
	check_guard(room, header.size);
	if (r < 0)
		return;

	/* What was opened is what was sealed. */
	struct frame frame;
	frame_seal(codec, key, room, header.size, header.width, &frame);
	if (header.codec == 0 && frame.header.codec == 0 &&
	    memcmp(&header, &frame.header, sizeof(header)) != 0)
		abort();
}

static void decode(struct codec *codec, const uint8_t *data, size_t size)
{
	if (size < 4)
		return;
	unsigned width = data[0];
	size_t wanted = (size_t)(data[1] | data[2] << 8 | (data[3] & 15) << 16);
	AUTO_FREE unsigned char *room = guarded(wanted);
	/* A copy of exact size, where reading too far is seen. */
	AUTO_FREE unsigned char *in = malloc(size - 4 + 1);
	if (!in)
		abort();
	memcpy(in, data + 4, size - 4);
	(void)!codec_decode(codec, in, size - 4, width, room, wanted);
	check_guard(room, wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec *codec;

	if (!codec && codec_new(&codec) < 0)
		abort();
	open_file(codec, data, size);
	decode(codec, data, size);
	return 0;
}
