#include "cache/frame.h"

#include <errno.h>
#include <string.h>

#include "cache/block.h"
#include "cache/codec.h"

#define MAGIC "mkmblk2"

enum frame_codec { FRAME_RAW, FRAME_CODED };

static struct digest sum_of(const struct frame_header *header,
			    const void *payload)
{
	struct digest head =
		digest_of(header, offsetof(struct frame_header, sum_high),
			  sizeof(*header));

	return digest_of(payload, header->stored, head.high ^ head.low);
}

void frame_seal(struct codec *codec, struct digest key, const void *data,
		size_t size, unsigned width, struct frame *ret)
{
	size_t coded = codec_encode(codec, data, size, width, &ret->payload);

	if (coded == 0)
		ret->payload = data;
	ret->header = (struct frame_header){
		.magic = MAGIC,
		.key_high = key.high,
		.key_low = key.low,
		.size = (uint32_t)size,
		.stored = (uint32_t)(coded ? coded : size),
		.codec = coded ? FRAME_CODED : FRAME_RAW,
		.width = width,
	};
	struct digest sum = sum_of(&ret->header, ret->payload);
	ret->header.sum_high = sum.high;
	ret->header.sum_low = sum.low;
}

int frame_check(const struct frame_header *header, struct digest key,
		uint64_t file_size)
{
	struct digest own = {header->key_high, header->key_low};

	if (memcmp(header->magic, MAGIC, sizeof(header->magic)) != 0 ||
	    !digest_equal(own, key) || header->size > BLOCK_SIZE ||
	    header->stored > header->size ||
	    file_size != sizeof(*header) + header->stored)
		return -EBADMSG;
	if (header->codec == FRAME_RAW)
		return header->stored == header->size ? 0 : -EBADMSG;
	return header->codec == FRAME_CODED && header->stored < header->size
		       ? 0
		       : -EBADMSG;
}

int frame_open(struct codec *codec, const struct frame_header *header,
	       const void *payload, void *data, size_t size)
{
	struct digest sum = sum_of(header, payload);
	struct digest right = {header->sum_high, header->sum_low};

	if (!digest_equal(sum, right) || header->size != size)
		return -EBADMSG;
	if (header->codec == FRAME_CODED)
		return codec_decode(codec, payload, header->stored,
				    header->width, data, size);
	memcpy(data, payload, size);
	return 0;
}
