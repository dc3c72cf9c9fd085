/*
 * Which tensor lies where: shards, their safetensors headers, the index.
 *
 * Tensors are dealt to shards in natural order of their names (so that layers
 * stay together), a new shard beginning where the next tensor would make it
 * larger than the limit. Within a shard they lie as the format's reference
 * writer puts them: larger dtype rank first, then by name. Headers are padded
 * so that the data begins on a page boundary.
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

/* tensors: (n,) in natural order. shard_size 0 means 5 * 10^9. */
int layout_new(const struct output_tensor *tensors, size_t n,
	       uint64_t shard_size, struct layout **ret);
void layout_free(struct layout *layout);
DEFINE_AUTO(layout, layout_free);

#endif
