/*
 * Which tensor lies where: shards, their safetensors headers, the index.
 *
 * Tensors are dealt to shards in natural order of their names (so that layers
 * stay together), a new shard beginning where the next tensor would make the
 * data of this one larger than the limit, or its header unreasonable. A tensor
 * that is larger than the limit has a shard to itself. Within a shard tensors
 * lie as the format's reference writer puts them: larger dtype rank first, then
 * by name, without gaps. Headers are padded so that the data begins on a page
 * boundary.
 *
 * One shard is model.safetensors, without an index; no tensors, no shard.
 */
#ifndef MERGE_OUTPUT_LAYOUT_H
#define MERGE_OUTPUT_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/macros.h"

struct output_tensor;

struct placed_tensor {
	const struct output_tensor *tensor; /* borrowed */
	uint64_t offset;		    /* from the start of the file */
};

struct shard {
	char *name;   /* "model-00001-of-00003.safetensors"; owned */
	char *header; /* (header_size,) the 8-byte length included; owned */
	size_t header_size;
	struct placed_tensor *tensors; /* (n_tensors,) by offset; owned */
	size_t n_tensors;
	uint64_t size; /* of the file */
};

struct layout {
	struct shard *shards; /* (n_shards,) owned */
	size_t n_shards;
	char *index; /* text of model.safetensors.index.json, or NULL */
};

/*
 * tensors: (n,) in natural order, with distinct names; borrowed until
 * layout_free(). shard_size is of the tensors' bytes; 0 means 5 * 10^9.
 * -ENOMEM, or -EOVERFLOW where a file would be larger than a file can be.
 */
int layout_new(const struct output_tensor *tensors, size_t n,
	       uint64_t shard_size, struct layout **ret);
void layout_free(struct layout *layout);
DEFINE_AUTO(layout, layout_free);

#endif
