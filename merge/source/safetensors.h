/*
 * The safetensors container: header validation, by the rules of the format's
 * reference reader and, where the specification is stricter, by those
 * (duplicate names are refused).
 */
#ifndef MERGE_SOURCE_SAFETENSORS_H
#define MERGE_SOURCE_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "merge/source/tensor.h"
#include "util/error.h"

/* What a header describes; offsets are from the start of the file. */
struct safetensors {
	struct tensor
		*tensors; /* (n_tensors,) owned, sorted by name, file unset */
	size_t n_tensors;
};

/*
 * Judges the header in `head` (the first head_size bytes of a file of file_size
 * bytes, at least 8 + header length of them). One sentence beginning with
 * `path` on failure, -EINVAL or -ENOMEM.
 */
int safetensors_parse(const unsigned char *head, size_t head_size,
		      uint64_t file_size, const char *path,
		      struct safetensors *ret, struct error *err);
void safetensors_done(struct safetensors *safetensors);

#endif
