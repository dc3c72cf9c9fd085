/*
 * Pickles, as torch.save writes them for tensors by name: read as data, never
 * executed. Of the language there are the words that such a file has, of
 * Python's names those that rebuild tensors; all else is refused.
 *
 * Where the bytes of a storage are is the archive's business (torch.h).
 */
#ifndef MERGE_SOURCE_PICKLE_H
#define MERGE_SOURCE_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/tensor/shape.h"
#include "util/error.h"

struct dtype;

/* Text within the pickle, without a NUL behind it. */
struct pickle_text {
	const char *data;
	size_t size;
};

struct pickle_tensor {
	struct pickle_text name;
	struct pickle_text storage; /* its key */
	uint64_t storage_count;	    /* elements that it has */
	const struct dtype *dtype;
	struct shape shape;
	uint64_t count; /* elements */
	uint64_t first; /* element of the storage */
	bool contiguous;
};

struct pickle {
	struct pickle_tensor *tensors; /* (n_tensors,) owned */
	size_t n_tensors;
};

/* What a pickle of tensors by name has. One sentence beginning with `path` on
 * failure, -EINVAL or -ENOMEM. */
int pickle_parse(const unsigned char *data, size_t size, const char *path,
		 struct pickle *ret, struct error *err);
void pickle_done(struct pickle *pickle);

#endif
