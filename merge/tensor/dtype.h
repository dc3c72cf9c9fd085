/*
 * Element types of tensors: one table row each, by the safetensors format.
 *
 * Arithmetic is done in f32 ("rows of floats"); how a type becomes f32 and back
 * is in kernels/isa.h, per instruction set.
 */
#ifndef MERGE_TENSOR_DTYPE_H
#define MERGE_TENSOR_DTYPE_H

#include <stdbool.h>

/* In the order of the format's reference writer, lowest first. */
enum dtype_code {
	DTYPE_BOOL,
	DTYPE_F4,
	DTYPE_F6_E2M3,
	DTYPE_F6_E3M2,
	DTYPE_U8,
	DTYPE_I8,
	DTYPE_F8_E5M2,
	DTYPE_F8_E4M3,
	DTYPE_F8_E8M0,
	DTYPE_F8_E4M3FNUZ,
	DTYPE_F8_E5M2FNUZ,
	DTYPE_I16,
	DTYPE_U16,
	DTYPE_F16,
	DTYPE_BF16,
	DTYPE_I32,
	DTYPE_U32,
	DTYPE_F32,
	DTYPE_C64,
	DTYPE_F64,
	DTYPE_I64,
	DTYPE_U64,
	DTYPE_COUNT,
};

struct dtype {
	enum dtype_code code; /* also its rank in a file: higher comes first */
	const char *name;     /* in safetensors headers: "BF16" */
	const char *torch; /* in recipes and config.json: "bfloat16", or NULL */
	unsigned bits;
	bool mergeable; /* F64 F32 BF16 F16: arithmetic is done on it */
};

const struct dtype *dtype_of(enum dtype_code code);

/* By name in a header, case-sensitive; NULL if there is none such. */
const struct dtype *dtype_find(const char *name);

/* By name in a recipe, with or without "torch."; NULL if there is none such.
 * Only float64, float32, bfloat16 and float16 can be computed. */
const struct dtype *dtype_find_torch(const char *name);

/* The type that both convert to without loss of range, as torch promotes:
 * equal types stay, bf16 with f16 is f32, else the wider float. NULL where they
 * differ and one is not mergeable. */
const struct dtype *dtype_promote(const struct dtype *a, const struct dtype *b);

#endif
