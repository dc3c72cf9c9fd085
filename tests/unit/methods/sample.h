/*
 * Inputs and parameters for tests of merge methods, drawn from a seed, and the
 * gathering of facts as the engine does it.
 */
#ifndef TESTS_UNIT_METHODS_SAMPLE_H
#define TESTS_UNIT_METHODS_SAMPLE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "tests/unit/check.h"

#define MAX_INPUTS 5
#define MAX_PARAMS 8
#ifndef MAX_COUNT /* some tests want more */
#define MAX_COUNT (5 * TILE)
#endif
#define MAX_FACTS (2048 + MAX_COUNT / 64)

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
	struct method_stream streams[MAX_INPUTS];
	const float *in[MAX_INPUTS]; /* of rows */
	float rows[MAX_INPUTS][MAX_COUNT];
	float scratch[MAX_INPUTS][MAX_COUNT]; /* what methods overwrite */
	uint64_t facts[MAX_FACTS];
	/* Of the last pass: (pieces, size_marks), and elements of a piece. */
	char *marks;
	size_t size_marks, piece;
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

	/* An optional base comes on top. */
	if (based && method->base == BASE_OPTIONAL && n < MAX_INPUTS)
		n++;

	sample->args = (struct method_args){
		.n_inputs = n,
		.base = based ? (int)(sample_bits(sample) % n) : -1,
		.values = sample->values,
		.count = count,
		.row = count % 64 ? count : 64,
		.stride = count % 64 ? 1 : 64,
		.streams = sample->streams,
		.traits = method->traits,
	};
	for (unsigned i = 0; i < n; i++)
		sample->streams[i] = (struct method_stream){
			.key = sample_bits(sample),
			.nonce = sample_bits(sample),
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

/* Elements that are scanned and blended at once, as the engine does it. */
static inline size_t sample_unit(const struct sample *sample,
				 const struct method *method)
{
	size_t row = sample->args.row;

	if (!method->by_rows || !method->by_rows(&sample->args))
		return TILE;
	return method_unit(row);
}

/* Copies of the inputs from `first` on, for the method to overwrite unless they
 * are halves, which are aligned to nothing. */
static inline void sample_copy(struct sample *sample, size_t first, size_t n,
			       float *in[MAX_INPUTS])
{
	for (unsigned i = 0; i < MAX_INPUTS; i++) {
		in[i] = sample->scratch[i];
		if (sample->args.halves) {
			void *halves = (char *)in[i] + 1;

			isa_all()[0]->store[DTYPE_BF16](
				halves, sample->in[i] + first, n);
			in[i] = halves;
			continue;
		}
		memcpy(in[i], sample->in[i] + first, n * sizeof(float));
	}
}

static inline void sample_begin(struct sample *sample,
				const struct method *method, void *part,
				size_t size, unsigned pass)
{
	memset(part, method->begin ? 0xa5 : 0, size);
	if (method->begin)
		method->begin(part, pass, &sample->args);
}

static inline void sample_free(struct sample *sample)
{
	free(sample->marks);
	free(sample);
}

/* As they are in the parts of all pieces. */
static inline void sample_take_marks(struct sample *sample,
				     const struct method_sizes *sizes,
				     const char *parts, size_t n_pieces)
{
	free(sample->marks);
	sample->size_marks = sizes->marks;
	sample->marks = malloc(n_pieces * sizes->marks + 1);
	CHECK(sample->marks && sizes->marks <= sizes->part &&
	      sizes->marks <= MARKS_MOST);
	for (size_t i = 0; i < n_pieces; i++)
		memcpy(sample->marks + i * sizes->marks,
		       parts + i * (sizes->part + 8) + sizes->part -
			       sizes->marks,
		       sizes->marks);
}

static inline void sample_scan(struct sample *sample,
			       const struct method *method,
			       struct method_scan *scan, size_t size)
{
	size_t unit = sample_unit(sample, method);
	size_t end = scan->piece + size;
	float *in[MAX_INPUTS];

	if (end > sample->args.count)
		end = sample->args.count;
	for (size_t at = scan->piece; at < end; at += unit) {
		scan->first = at;
		scan->n = end - at < unit ? end - at : unit;
		scan->in = in;
		if (method->reach)
			scan->n = method->reach(scan, &sample->args);
		if (scan->n == 0)
			continue;
		sample_copy(sample, at, scan->n, in);
		method->scan(scan, &sample->args);
	}
}

/* Pieces are scanned last to first or first to last, and folded in order. */
static inline unsigned sample_pass(struct sample *sample,
				   const struct method *method, unsigned pass,
				   bool backwards)
{
	size_t unit = sample_unit(sample, method);
	size_t size = unit < 2 * TILE ? 2 * TILE / unit * unit : unit;
	size_t n_pieces = (sample->args.count + size - 1) / size;
	struct method_sizes sizes = method->sizes(pass, &sample->args);

	CHECK(sizes.part % 8 == 0 && sizes.sum % 8 == 0);
	char *parts = calloc(n_pieces, sizes.part + 8);
	void *sum = calloc(1, sizes.sum + 8);
	CHECK(parts && sum);
	for (size_t i = 0; i < n_pieces; i++) {
		size_t piece = backwards ? n_pieces - 1 - i : i;
		struct method_scan scan = {
			.pass = pass,
			.facts = sample->facts,
			.piece = piece * size,
			.part = parts + piece * (sizes.part + 8),
			.sum = sum,
		};
		sample_begin(sample, method, scan.part, sizes.part, pass);
		sample_scan(sample, method, &scan, size);
	}
	for (size_t i = 0; i < n_pieces; i++)
		method->fold(sum, parts + i * (sizes.part + 8), pass,
			     sample->facts, &sample->args);
	sample->piece = size;
	sample_take_marks(sample, &sizes, parts, n_pieces);
	pass = method->settle(sample->facts, pass, sum, &sample->args);
	free(parts);
	free(sum);
	return pass;
}

static inline void sample_gather(struct sample *sample,
				 const struct method *method, bool backwards)
{
	unsigned pass = 0;

	memset(sample->facts, 0, sizeof(sample->facts));
	sample->size_marks = 0;
	if (!method_has_facts(method, &sample->args))
		return;
	CHECK(method->facts_size(&sample->args) % 8 == 0);
	CHECK(method->facts_size(&sample->args) <= sizeof(sample->facts));
	do
		pass = sample_pass(sample, method, pass, backwards);
	while (pass > 0);
}

/* Elements [first, first + n) of one unit, by what the scan has left of them.
 */
static inline void sample_blend_marked(struct sample *sample,
				       const struct method *method,
				       size_t first, size_t n, float *out)
{
	size_t piece = first / sample->piece;
	struct method_args args = sample->args;
	float *in[MAX_INPUTS];

	args.marks = sample->marks + piece * sample->size_marks;
	args.piece = piece * sample->piece;
	sample_copy(sample, first, n, in);
	method->blend(out, in, first, n, &args, sample->facts);
}

/* Elements [first, first + n) of one unit. */
static inline void sample_blend(struct sample *sample,
				const struct method *method, size_t first,
				size_t n, float *out)
{
	bool facts = method_has_facts(method, &sample->args);
	float *in[MAX_INPUTS];

	sample_copy(sample, first, n, in);
	method->blend(out, in, first, n, &sample->args,
		      facts ? sample->facts : NULL);
}

/* The whole tensor, unit by unit; out: (count,) */
static inline void sample_blend_all(struct sample *sample,
				    const struct method *method, float *out)
{
	size_t unit = sample_unit(sample, method), count = sample->args.count;

	for (size_t at = 0; at < count; at += unit)
		sample_blend(sample, method, at,
			     count - at < unit ? count - at : unit, out + at);
}

#endif
