#include "merge/tensor/dtype.h"

#include <stddef.h>
#include <string.h>

#include "util/macros.h"

#define ROW(code_, bits_, torch_, ...)            \
	[DTYPE_##code_] = {.code = DTYPE_##code_, \
			   .name = #code_,        \
			   .torch = torch_,       \
			   .bits = bits_,         \
			   ##__VA_ARGS__}

static const struct dtype table[DTYPE_COUNT] = {
	ROW(BOOL, 8, "bool"),
	ROW(F4, 4, NULL),
	ROW(F6_E2M3, 6, NULL),
	ROW(F6_E3M2, 6, NULL),
	ROW(U8, 8, "uint8"),
	ROW(I8, 8, "int8"),
	ROW(F8_E5M2, 8, "float8_e5m2"),
	ROW(F8_E4M3, 8, "float8_e4m3fn"),
	ROW(F8_E8M0, 8, "float8_e8m0fnu"),
	ROW(F8_E4M3FNUZ, 8, "float8_e4m3fnuz"),
	ROW(F8_E5M2FNUZ, 8, "float8_e5m2fnuz"),
	ROW(I16, 16, "int16"),
	ROW(U16, 16, "uint16"),
	ROW(F16, 16, "float16", .mergeable = true),
	ROW(BF16, 16, "bfloat16", .mergeable = true),
	ROW(I32, 32, "int32"),
	ROW(U32, 32, "uint32"),
	ROW(F32, 32, "float32", .mergeable = true),
	ROW(C64, 64, "complex64"),
	ROW(F64, 64, "float64", .mergeable = true),
	ROW(I64, 64, "int64"),
	ROW(U64, 64, "uint64"),
};

const struct dtype *dtype_of(enum dtype_code code)
{
	return &table[code];
}

const struct dtype *dtype_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

const struct dtype *dtype_find_torch(const char *name)
{
	static const char prefix[] = "torch.";
	if (strncmp(name, prefix, strlen(prefix)) == 0)
		name += strlen(prefix);

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].torch && strcmp(table[i].torch, name) == 0)
			return &table[i];
	return NULL;
}

const struct dtype *dtype_promote(const struct dtype *a, const struct dtype *b)
{
	if (a == b)
		return a;
	if (!a->mergeable || !b->mergeable)
		return NULL;
	/* F16 and BF16: neither has the range and digits of the other. */
	if (a->bits == b->bits)
		return &table[DTYPE_F32];
	return a->bits > b->bits ? a : b;
}
