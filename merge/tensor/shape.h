/*
 * Shapes: row-major, the last dimension is the fastest.
 */
#ifndef MERGE_TENSOR_SHAPE_H
#define MERGE_TENSOR_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#define SHAPE_MAX_RANK 8

struct shape {
	unsigned rank;		       /* 0: a scalar */
	uint64_t dims[SHAPE_MAX_RANK]; /* (rank,) */
};

/* Product of the dims (1 for a scalar). -EOVERFLOW. */
int shape_count(const struct shape *shape, uint64_t *ret);
bool shape_equal(const struct shape *a, const struct shape *b);

/* Equal but for the first dimension, which both have. */
bool shape_equal_rows(const struct shape *a, const struct shape *b);

/* "[128, 64]". Returns buffer. */
char *shape_format(const struct shape *shape, char buffer[192]);

#endif
