/*
 * A stored tensor: a contiguous range of bytes of a source file.
 */
#ifndef MERGE_SOURCE_TENSOR_H
#define MERGE_SOURCE_TENSOR_H

#include <stdint.h>

#include "merge/tensor/dtype.h"
#include "merge/tensor/shape.h"

struct file;

struct tensor {
	char *name; /* owned by the source */
	const struct dtype *dtype;
	struct shape shape;
	uint64_t count;		 /* elements */
	const struct file *file; /* borrowed from the source */
	uint64_t offset, size;	 /* bytes, from the start of the file */
};

#endif
