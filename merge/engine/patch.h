/*
 * Applying the patches of an adapter to values that are there.
 */
#ifndef MERGE_ENGINE_PATCH_H
#define MERGE_ENGINE_PATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATCH_ROOM ((uint64_t)1 << 15) /* floats */

struct dtype;
struct isa;
struct lora_patch;

/* A rectangle of the tensor, in rows of `step` floats at `values`. */
struct area {
	uint64_t row, n_rows, column, n_columns;
	float *values;
	uint64_t step;
};

struct patching {
	const struct isa *isa;
	const struct dtype *dtype; /* that results are rounded to */
	bool rounds_twice;	   /* see struct lora_terms */
	float *delta;		   /* (PATCH_ROOM,) scratch */
};

/* What of the patches, (n,), lies in the area. -EIO, -ENOMEM. */
int patch_apply(const struct patching *how, const struct lora_patch *patches,
		size_t n, const struct area *area);

/* Rounds n values to the dtype. */
void patch_round(const struct patching *how, float *values, size_t n);

#endif
