/*
 * Why a read of an image failed, as a sentence.
 */
#ifndef FS_FAILURE_H
#define FS_FAILURE_H

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct merge;

/* Names the file, the range and, where one has changed, the source. Returns r,
 * the negative errno of the read. */
int failure_describe(const struct merge *merge, uint32_t entry, uint64_t offset,
		     size_t size, int r, struct error *err);

#endif
