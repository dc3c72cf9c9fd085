/*
 * Inputs and parameters for tests of merge methods, drawn from a seed, and the
 * gathering of facts as the engine does it.
 */
#ifndef TESTS_UNIT_METHODS_SAMPLE_H
#define TESTS_UNIT_METHODS_SAMPLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "tests/unit/check.h"

#define MAX_INPUTS 5
#define MAX_PARAMS 8
#define MAX_COUNT (5 * TILE)
#define PIECE (2 * TILE) /* elements of one part of the facts */

enum data {
	DATA_EVEN,
	DATA_HEAVY_TAILS,
	DATA_SPARSE,
	DATA_ZERO,
	DATA_SUBNORMAL,
	DATA_EQUAL,    /* all inputs are the same */
	DATA_OPPOSITE, /* the others are the negative of the first */
	DATA_NEAR,     /* as fine-tunes of one model */
	DATA_BROKEN,   /* some infinities and NaNs */
	DATA_COUNT,
};

struct sample {
	uint64_t state; /* of the generator */
	struct method_args args;
	double values[MAX_PARAMS * MAX_INPUTS];
	const float *in[MAX_INPUTS]; /* of rows */
	float rows[MAX_INPUTS][MAX_COUNT];
	uint64_t facts[1024];
};

static inline uint32_t sample_bits(struct sample *sample)
{
	sample->state = sample->state * UINT64_C(6364136223846793005) +
			UINT64_C(1442695040888963407);
	return (uint32_t)(sample->state >> 32);
}

/* In [low, high). */
static inline double sample_number(struct sample *sample, double low,
				   double high)
{
	return low + (high - low) * sample_bits(sample) * 0x1p-32;
}

static inline float sample_element(struct sample *sample, enum data data,
				   unsigned input, float first)
{
	double x = sample_number(sample, -1, 1);

	switch (data) {
	case DATA_HEAVY_TAILS:
		return (float)(x / (1e-4 + fabs(sample_number(sample, -1, 1))));
	case DATA_SPARSE:
		return sample_bits(sample) % 8 ? 0 : (float)x;
	case DATA_ZERO:
		return input % 2 ? (float)x : 0;
	case DATA_SUBNORMAL:
		return (float)(x * 0x1p-130);
	case DATA_EQUAL:
		return input ? first : (float)x;
	case DATA_OPPOSITE:
		return input ? -first : (float)x;
	case DATA_NEAR:
		return input ? first + (float)(x * 0.01) : (float)x;
	case DATA_BROKEN:
		if (sample_bits(sample) % 64)
			return (float)x;
		return sample_bits(sample) % 2 ? NAN : copysignf(INFINITY, x);
	default:
		return (float)x;
	}
}

static inline void sample_rows(struct sample *sample, enum data data)
{
	for (unsigned i = 0; i < MAX_INPUTS; i++) {
		for (size_t e = 0; e < sample->args.count; e++)
			sample->rows[i][e] = sample_element(sample, data, i,
							    sample->rows[0][e]);
		sample->in[i] = sample->rows[i];
	}
}

static inline double sample_param(struct sample *sample,
				  const struct method_param *param)
{
	bool bounded = param->min != 0 || param->max != 0;

	if (param->type == PARAM_BOOL)
		return sample_bits(sample) % 2;
	if (!param->required && sample_bits(sample) % 2)
		return param->value;
	if (param->type == PARAM_INT)
		return bounded ? param->min : sample_bits(sample) % 8;
	return bounded ? sample_number(sample, param->min, param->max)
		       : sample_number(sample, -0.5, 1.5);
}

static inline void sample_args(struct sample *sample,
			       const struct method *method, size_t count)
{
	unsigned most = method->max_inputs ? method->max_inputs : MAX_INPUTS;
	unsigned choices = most - method->min_inputs + 1;
	unsigned n = method->min_inputs + sample_bits(sample) % choices;
	bool based = method->base == BASE_REQUIRED ||
		     (method->base == BASE_OPTIONAL && sample_bits(sample) % 2);

	sample->args = (struct method_args){
		.n_inputs = n,
		.base = based ? (int)(sample_bits(sample) % n) : -1,
		.values = sample->values,
		.count = count,
		.row = count % 64 ? count : 64,
	};
	for (unsigned p = 0; method->params[p].name; p++) {
		const struct method_param *param = &method->params[p];
		double shared = sample_param(sample, param);

		CHECK(p < MAX_PARAMS);
		for (unsigned i = 0; i < n; i++)
			sample->values[p * n + i] =
				param->per_model ? sample_param(sample, param)
						 : shared;
	}
}

static inline struct sample *sample_new(const struct method *method,
					enum data data, size_t count,
					uint64_t seed)
{
	struct sample *sample = calloc(1, sizeof(*sample));

	CHECK(sample && count <= MAX_COUNT);
	sample->state = seed;
	sample_args(sample, method, count);
	sample_rows(sample, data);
	return sample;
}

static inline void sample_scan(const struct sample *sample,
			       const struct method *method, unsigned pass,
			       size_t begin, void *part)
{
	size_t end = begin + PIECE;

	if (end > sample->args.count)
		end = sample->args.count;
	for (size_t at = begin; at < end; at += TILE) {
		const float *in[MAX_INPUTS];

		for (unsigned i = 0; i < MAX_INPUTS; i++)
			in[i] = sample->in[i] + at;
		method->scan(part, pass, sample->facts, in, at,
			     end - at < TILE ? end - at : TILE, &sample->args);
	}
}

/* Pieces are scanned last to first or first to last, and folded in order. */
static inline void sample_gather(struct sample *sample,
				 const struct method *method, bool backwards)
{
	static uint64_t parts[MAX_COUNT / PIECE + 1][1024];
	size_t n_pieces = (sample->args.count + PIECE - 1) / PIECE;

	memset(sample->facts, 0, sizeof(sample->facts));
	for (unsigned pass = 0; pass < method->n_passes; pass++) {
		CHECK(method->facts_size(&sample->args) % 8 == 0);
		CHECK(method->facts_size(&sample->args) <= sizeof(parts[0]));
		memset(parts, 0, sizeof(parts));
		for (size_t i = 0; i < n_pieces; i++) {
			size_t piece = backwards ? n_pieces - 1 - i : i;

			sample_scan(sample, method, pass, piece * PIECE,
				    parts[piece]);
		}
		for (size_t i = 0; i < n_pieces; i++)
			method->fold(sample->facts, pass, parts[i],
				     &sample->args);
		if (method->settle)
			method->settle(sample->facts, pass, &sample->args);
	}
}

/* Elements [first, first + n), which must not cross a tile. */
static inline void sample_blend(const struct sample *sample,
				const struct method *method, size_t first,
				size_t n, float *out)
{
	const float *in[MAX_INPUTS];

	for (unsigned i = 0; i < MAX_INPUTS; i++)
		in[i] = sample->in[i] + first;
	method->blend(out, in, first, n, &sample->args,
		      method->n_passes ? sample->facts : NULL);
}

#endif
