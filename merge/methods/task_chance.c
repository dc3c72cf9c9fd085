/*
 * Pruning by chance: every element by itself, with the same chance (DARE), or
 * with one that rises with its rank in the row (DELLA).
 */
#include <errno.h>
#include <string.h>

#include "merge/kernels/philox.h"
#include "merge/kernels/rank.h"
#include "merge/kernels/rows.h"
#include "merge/kernels/select.h"
#include "merge/methods/gather.h"
#include "merge/methods/task.h"
#include "util/error.h"

#define CHUNK 512

/* Facts and parts, of one input: sums of magnitudes. */
struct chance_facts {
	double before, after;
};

bool della_by_rows(const struct method_args *args)
{
	for (unsigned i = 0; i < args->n_inputs; i++)
		if (task_prunes(args, i))
			return true;
	return false;
}

int della_check(const struct method_args *args, struct error *err)
{
	for (unsigned i = 0; i < args->n_inputs; i++) {
		double density = arg_of(args, TASK_DENSITY, i);
		double epsilon = arg_of(args, TASK_OWN, i);
		double most = density < 0.5 ? density : 1 - density;
		if (task_prunes(args, i) && density > 0 && epsilon >= most)
			return error_set(err, -EINVAL,
					 "density %g with epsilon %g gives "
					 "chances outside 0 to 1; epsilon must "
					 "be less than %g",
					 density, epsilon, most);
	}
	return 0;
}

/* Is its task vector pruned, and not away? */
static bool by_chance(const struct method_args *args, unsigned input)
{
	return task_prunes(args, input) &&
	       arg_of(args, TASK_DENSITY, input) > 0;
}

size_t chance_facts_size(const struct method_args *args)
{
	if (!arg_shared(args, TASK_RESCALE))
		return 0;
	for (unsigned i = 0; i < args->n_inputs; i++)
		if (by_chance(args, i))
			return args->n_inputs * sizeof(struct chance_facts);
	return 0;
}

struct method_sizes chance_sizes(unsigned pass, const struct method_args *args)
{
	size_t size = args->n_inputs * sizeof(struct chance_facts);
	(void)pass;

	return (struct method_sizes){.part = size, .sum = size};
}

/* Keeps by the upper halves of draws; true if any is as the chance's. */
static bool drop(float *restrict delta, const uint16_t *restrict upper,
		 uint16_t chance, size_t n)
{
	uint16_t equal = 0;

	for (size_t i = 0; i < n; i++)
		equal |= upper[i] == chance;
	if (equal)
		return true;
	for (size_t i = 0; i < n; i++)
		delta[i] *= upper[i] < chance ? 1.0f : 0.0f;
	return false;
}

static void drop_exactly(float *delta, const uint16_t *upper,
			 const uint16_t *lower, uint32_t chance, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t draw = (uint32_t)upper[i] << 16 | lower[i];

		delta[i] *= draw < chance ? 1.0f : 0.0f;
	}
}

/*
 * Drops elements by one chance, as a draw of 32 bits. The upper half decides,
 * but once in 2^16; so the lower ones, from a stream of their own, are seldom
 * asked for.
 */
static void drop_alike(float *delta, uint64_t first, size_t n, double density,
		       const struct method_stream *stream)
{
	uint32_t chance = (uint32_t)(density * 0x1p32);
	uint16_t upper[CHUNK], lower[CHUNK];

	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;

		philox_fill_half(upper, stream->key, stream->nonce, first + at,
				 now);
		if (!drop(delta + at, upper, (uint16_t)(chance >> 16), now))
			continue;
		philox_fill_half(lower, stream->key, ~stream->nonce, first + at,
				 now);
		drop_exactly(delta + at, upper, lower, chance, now);
	}
}

static inline void drop_unset(float *delta, uint32_t bits, size_t n)
{
	for (size_t i = 0; i < n; i++)
		delta[i] *= (float)(int)(bits >> i & 1);
}

static void drop_unmarked(float *delta, const uint64_t *keep, size_t n)
{
	for (size_t at = 0; at < n; at += 32) {
		uint32_t bits = (uint32_t)(keep[at / 64] >> at % 64);
		size_t left = n - at;

		if (left >= 32)
			drop_unset(delta + at, bits, 32);
		else
			drop_unset(delta + at, bits, left);
	}
}

/* Rows by rank; elements [first, first + n) are whole rows. */
static void drop_ranked(float *delta, uint64_t first, size_t n, unsigned input,
			const struct method_args *args)
{
	const struct method_stream *stream = &args->streams[input];
	double density = arg_of(args, TASK_DENSITY, input);
	double epsilon = arg_of(args, TASK_OWN, input);
	struct rank_chances chances = {density - epsilon, density + epsilon};
	uint64_t keep[ROW_MOST / 64];

	for (size_t at = 0; at < n; at += args->row) {
		rank_keep(keep, delta + at, args->row, &chances, stream->key,
			  stream->nonce, first + at);
		drop_unmarked(delta + at, keep, args->row);
	}
}

/* Multiplies dropped elements with zero. */
static void drop_some(float *delta, uint64_t first, size_t n, unsigned input,
		      const struct method_args *args)
{
	if (task_of(args)->ranked)
		drop_ranked(delta, first, n, input, args);
	else
		drop_alike(delta, first, n, arg_of(args, TASK_DENSITY, input),
			   &args->streams[input]);
}

void chance_scan(const struct method_scan *scan, const struct method_args *args)
{
	struct chance_facts *parts = scan->part;

	for (unsigned i = 0; i < args->n_inputs; i++) {
		float *delta = scan->in[i];
		if (!by_chance(args, i))
			continue;

		task_delta(delta, scan->in[args->base], scan->n);
		parts[i].before += select_sum(delta, scan->n);
		drop_some(delta, scan->first, scan->n, i, args);
		parts[i].after += select_sum(delta, scan->n);
	}
}

void chance_fold(void *sum, const void *part, unsigned pass, const void *facts,
		 const struct method_args *args)
{
	(void)pass;
	(void)facts;

	add_doubles(sum, part,
		    args->n_inputs * sizeof(struct chance_facts) /
			    sizeof(double));
}

unsigned chance_settle(void *facts, unsigned pass, const void *sum,
		       const struct method_args *args)
{
	size_t size = args->n_inputs * sizeof(struct chance_facts);
	(void)pass;

	memcpy(facts, sum, size);
	plain_doubles(facts, size / sizeof(double));
	return 0;
}

bool chance_tell(struct method_fact *ret, unsigned i, const void *facts,
		 const struct method_args *args)
{
	const struct chance_facts *own = facts;
	if (i >= args->n_inputs)
		return false;

	*ret = (struct method_fact){.input = (int)i};
	if (by_chance(args, i)) {
		ret->name = "rescaled by";
		ret->value = (double)task_factor(own[i].before, own[i].after);
	}
	return true;
}

void chance_prune(float *delta, uint64_t first, size_t n, unsigned input,
		  const struct method_args *args, const void *facts)
{
	const struct chance_facts *own = facts;

	if (!by_chance(args, input)) {
		row_multiply(delta, 0, n);
		return;
	}
	drop_some(delta, first, n, input, args);
	if (own)
		row_multiply(delta,
			     task_factor(own[input].before, own[input].after),
			     n);
}
