#include "merge/kernels/convert.h"

#include <stdint.h>
#include <string.h>

#include "merge/kernels/half.h"

#define F32_SIGN 0x80000000u
#define F32_INF 0x7f800000u
#define F32_QUIET 0x7fc00000u
#define F16_INF 0x7c00u

/* Between the exponents of the same number as f32 and as f16: 127 - 15. */
#define F16_REBIAS (112u << 23)

static inline void write_u16(void *out, size_t i, uint32_t bits)
{
	uint16_t value = (uint16_t)bits;

	memcpy((char *)out + i * sizeof(value), &value, sizeof(value));
}

static inline uint32_t to_bf16(float value)
{
	uint32_t bits = bits_of(value);
	uint32_t up = 0x7fff + (bits >> 16 & 1);
	uint32_t rounded = (bits + up) >> 16;

	if ((bits & ~F32_SIGN) > F32_INF)
		rounded = F32_QUIET >> 16;
	return rounded;
}

/*
 * Every kind of number is computed and one selected, which the compiler turns
 * into vector code without branches. A subnormal is its digits times 2^-24.
 */
static inline float from_f16(uint32_t half)
{
	uint32_t size = half & 0x7fff;
	uint32_t normal = (size << 13) + F16_REBIAS;
	uint32_t tiny = bits_of((float)(int32_t)size * 0x1p-24f);

	uint32_t bits = size < 0x400 ? tiny : normal;
	if (size >= F16_INF)
		bits |= F32_INF;
	if (size > F16_INF)
		bits |= F32_QUIET;
	return float_of(bits | (half & 0x8000) << 16);
}

/*
 * A subnormal result: adding 0.5, whose last digit is worth 2^-24, has the
 * addition round to the digits of the result.
 */
static inline uint32_t to_f16(float value)
{
	const uint32_t least_normal = F16_REBIAS + (1u << 23);
	const uint32_t overflow = 0x477ff000; /* 65520: rounds to infinity */
	uint32_t bits = bits_of(value);
	uint32_t size = bits & ~F32_SIGN;
	uint32_t up = 0xfff + (size >> 13 & 1);
	uint32_t normal = (size - F16_REBIAS + up) >> 13;
	uint32_t tiny = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);

	uint32_t half = size < least_normal ? tiny : normal;
	if (size >= overflow)
		half = F16_INF;
	half |= bits >> 16 & 0x8000;
	if (size > F32_INF)
		half = 0x7e00;
	return half;
}

void load_bf16(float *restrict out, const void *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = from_bf16(read_u16(in, i));
}

void store_bf16(void *restrict out, const float *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		write_u16(out, i, to_bf16(in[i]));
}

void round_bf16(float *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		values[i] = from_bf16(to_bf16(values[i]));
}

void load_f16(float *restrict out, const void *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = from_f16(read_u16(in, i));
}

void store_f16(void *restrict out, const float *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		write_u16(out, i, to_f16(in[i]));
}

void round_f16(float *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		values[i] = from_f16(to_f16(values[i]));
}

void load_f32(float *restrict out, const void *restrict in, size_t n)
{
	memcpy(out, in, n * sizeof(*out));
}

void store_f32(void *restrict out, const float *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t bits = bits_of(in[i]);

		if ((bits & ~F32_SIGN) > F32_INF)
			bits = F32_QUIET;
		memcpy((char *)out + i * sizeof(bits), &bits, sizeof(bits));
	}
}

void load_f64(float *restrict out, const void *restrict in, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		double value;

		memcpy(&value, (const char *)in + i * sizeof(value),
		       sizeof(value));
		out[i] = (float)value;
	}
}

void store_f64(void *restrict out, const float *restrict in, size_t n)
{
	const double quiet = __builtin_nan("");

	for (size_t i = 0; i < n; i++) {
		double value = in[i] == in[i] ? (double)in[i] : quiet;

		memcpy((char *)out + i * sizeof(value), &value, sizeof(value));
	}
}
