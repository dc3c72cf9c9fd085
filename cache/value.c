#include "cache/value.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "cache/block.h"
#include "cache/disk.h"
#include "util/macros.h"
#include "util/range.h"

struct head {
	uint64_t size;
	struct digest sum;
};

static struct digest piece_key(struct digest key, uint64_t piece)
{
	uint64_t words[] = {key.high, key.low, piece};

	return digest_of(words, sizeof(words), 0);
}

static size_t piece_size(size_t size, size_t offset)
{
	return (size_t)min_u64(size - offset, BLOCK_SIZE);
}

int value_load(struct disk_cache *disk, struct digest key, char **ret,
	       size_t *ret_size)
{
	struct head head;
	if (disk_cache_load(disk, key, &head, sizeof(head)) < 0 ||
	    head.size > VALUE_MOST)
		return -ENOENT;

	size_t size = (size_t)head.size;
	AUTO_FREE char *data = malloc(size + 1);
	if (!data)
		return -ENOMEM;
	for (size_t at = 0; at < size; at += BLOCK_SIZE) {
		if (disk_cache_load(disk, piece_key(key, at / BLOCK_SIZE),
				    data + at, piece_size(size, at)) < 0)
			return -ENOENT;
	}
	if (!digest_equal(digest_of(data, size, 0), head.sum))
		return -ENOENT;
	data[size] = '\0';
	*ret = TAKE(data);
	*ret_size = size;
	return 0;
}

void value_store(struct disk_cache *disk, struct digest key, const char *data,
		 size_t size)
{
	struct head head = {size, digest_of(data, size, 0)};
	if (size > VALUE_MOST)
		return;

	for (size_t at = 0; at < size; at += BLOCK_SIZE) {
		if (disk_cache_store(disk, piece_key(key, at / BLOCK_SIZE),
				     data + at, piece_size(size, at), 1) < 0)
			return;
	}
	/* Last, so that what is found is whole. */
	disk_cache_store(disk, key, &head, sizeof(head), 1);
}
