/*
 * Conversions between stored elements and rows of floats, for the tables of
 * isa.h, where their contract is.
 *
 * What the hardware does with the payload of a NaN differs; so every store
 * writes the one positive quiet NaN without payload.
 */
#ifndef MERGE_KERNELS_CONVERT_H
#define MERGE_KERNELS_CONVERT_H

#include <stddef.h>

#include "merge/kernels/isa.h"

#define load_f16 ISA_NAME(load_f16)
#define load_bf16 ISA_NAME(load_bf16)
#define load_f32 ISA_NAME(load_f32)
#define load_f64 ISA_NAME(load_f64)
#define store_f16 ISA_NAME(store_f16)
#define store_bf16 ISA_NAME(store_bf16)
#define store_f32 ISA_NAME(store_f32)
#define store_f64 ISA_NAME(store_f64)
#define round_f16 ISA_NAME(round_f16)
#define round_bf16 ISA_NAME(round_bf16)

void load_f16(float *restrict out, const void *restrict in, size_t n);
void load_bf16(float *restrict out, const void *restrict in, size_t n);
void load_f32(float *restrict out, const void *restrict in, size_t n);
void load_f64(float *restrict out, const void *restrict in, size_t n);

void store_f16(void *restrict out, const float *restrict in, size_t n);
void store_bf16(void *restrict out, const float *restrict in, size_t n);
void store_f32(void *restrict out, const float *restrict in, size_t n);
void store_f64(void *restrict out, const float *restrict in, size_t n);

void round_f16(float *values, size_t n);
void round_bf16(float *values, size_t n);

#endif
