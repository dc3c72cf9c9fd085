#include "merge/methods/task.h"

#include <math.h>
#include <string.h>

#include "merge/kernels/rows.h"

#define CHUNK TILE /* elements whose sums stay in the nearest cache */

/* The base alone is its own merge, whatever is added to it is not. */
int task_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? args->base : -1;
}

/* What an element with a vote against it or for it is multiplied with. */
static inline float voter(float x, float votes)
{
	float with = x * (votes >= 0 ? 1.0f : -1.0f);

	return with > 0 ? 1 : 0;
}

/* Adds the elements whose sign has the majority, and their weights. */
static void add_voters(float *restrict sum, float *restrict weights,
		       const float *restrict votes, const float *restrict x,
		       float weight, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		float keep = voter(x[i], votes[i]);

		sum[i] += x[i] * keep;
		weights[i] += weight * keep;
	}
}

static void divide_voted(float *restrict sum, const float *restrict weights,
			 size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] = sum[i] / (weights[i] == 0 ? 1 : weights[i]);
}

/* A task vector and its weight; base: what is still to be subtracted, or NULL.
 */
struct term {
	const float *x, *base;
	float weight;
};

/*
 * whole: is there a base? Known when a loop is compiled: else compilers read
 * the base under a mask, and a masked read from NULL takes hundreds of cycles.
 */
static inline float term_at(const struct term *term, size_t i, bool whole)
{
	float delta = whole ? term->x[i] - term->base[i] : term->x[i];

	return delta * term->weight;
}

/* The same of halves, whose base is always to be subtracted. */
static inline float half_term_at(const struct term *term, size_t i)
{
	float delta = row_at(term->x, i, true) - row_at(term->base, i, true);

	return delta * term->weight;
}

/* Sums begin with zero, and so without the sign of terms that all are -0. */
static void copy_term(float *restrict out, struct term term, size_t n,
		      bool halves)
{
	if (halves)
		for (size_t i = 0; i < n; i++)
			out[i] = 0 + half_term_at(&term, i);
	else if (term.base)
		for (size_t i = 0; i < n; i++)
			out[i] = 0 + term_at(&term, i, true);
	else
		for (size_t i = 0; i < n; i++)
			out[i] = 0 + term_at(&term, i, false);
}

static void add_term(float *restrict out, struct term term, size_t n,
		     bool halves)
{
	if (halves)
		for (size_t i = 0; i < n; i++)
			out[i] = half_term_at(&term, i) + out[i];
	else if (term.base)
		for (size_t i = 0; i < n; i++)
			out[i] = term_at(&term, i, true) + out[i];
	else
		for (size_t i = 0; i < n; i++)
			out[i] = term_at(&term, i, false) + out[i];
}

static void begin_sum(float *restrict out, struct term a, struct term b,
		      size_t n, bool halves)
{
	if (halves) {
		for (size_t i = 0; i < n; i++)
			out[i] = 0 + half_term_at(&a, i) + half_term_at(&b, i);
	} else if (a.base && b.base) {
		for (size_t i = 0; i < n; i++)
			out[i] =
				0 + term_at(&a, i, true) + term_at(&b, i, true);
	} else if (!a.base && !b.base) {
		for (size_t i = 0; i < n; i++)
			out[i] = 0 + term_at(&a, i, false) +
				 term_at(&b, i, false);
	} else {
		copy_term(out, a, n, false);
		add_term(out, b, n, false);
	}
}

/* In place: x is what the term is of. */
static void weigh(float *restrict x, struct term term, size_t n)
{
	if (!term.base) {
		row_multiply(x, term.weight, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		x[i] = (x[i] - term.base[i]) * term.weight;
}

EITHER_KIND void add_base_of(float *restrict out, const float *restrict base,
			     float lambda, size_t n, bool halves)
{
	for (size_t i = 0; i < n; i++) {
		float scaled = out[i] * lambda;

		out[i] = row_at(base, i, halves) + scaled;
	}
}

static void add_base(float *restrict out, const float *restrict base,
		     float lambda, size_t n, bool halves)
{
	if (halves)
		add_base_of(out, base, lambda, n, true);
	else
		add_base_of(out, base, lambda, n, false);
}

static void sum_voted(float *out, float *const *in, size_t at, size_t n,
		      const struct method_args *args)
{
	float votes[CHUNK] = {}, weights[CHUNK] = {};

	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			row_add(votes, in[i] + at, n);
	memset(out, 0, n * sizeof(*out));
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			add_voters(out, weights, votes, in[i] + at,
				   (float)arg_of(args, TASK_WEIGHT, i), n);
	if (arg_shared(args, TASK_NORMALIZE))
		divide_voted(out, weights, n);
}

/* Are task vectors made of halves before they are summed up? */
static bool makes_vectors(const struct method_args *args)
{
	return args->halves && (task_of(args)->prune || task_of(args)->vote);
}

/* The task vector of an input; at `made` if it is pruned or made. */
static struct term make_term(float *const *in, float *made, uint64_t first,
			     size_t n, unsigned i,
			     const struct method_args *args, const void *facts)
{
	const struct task_traits *traits = task_of(args);
	bool prunes = traits->prune && task_prunes(args, i);
	struct term term = {
		.x = in[i],
		.base = in[args->base],
		.weight = (float)arg_of(args, TASK_WEIGHT, i),
	};

	if (prunes || makes_vectors(args)) {
		if (args->halves)
			row_delta(made, in[i], term.base, n, true);
		else
			task_delta(made, term.base, n);
		term.x = made;
		term.base = NULL;
	}
	if (prunes)
		traits->prune(made, first, n, i, args, facts);
	return term;
}

/* The sum of all task vectors; two at once as that is what there is mostly. */
static void sum_all(float *out, float *const *in, float *const *made,
		    uint64_t first, size_t n, const struct method_args *args,
		    const void *facts)
{
	bool halves = args->halves && !makes_vectors(args);
	unsigned n_terms = 0;
	float weights = 0;
	struct term begun = {};

	for (unsigned i = 0; i < args->n_inputs; i++) {
		if ((int)i == args->base)
			continue;
		struct term term =
			make_term(in, made[i], first, n, i, args, facts);
		weights += term.weight;
		if (++n_terms == 1)
			begun = term;
		else if (n_terms == 2)
			begin_sum(out, begun, term, n, halves);
		else
			add_term(out, term, n, halves);
	}
	if (n_terms == 0)
		memset(out, 0, n * sizeof(*out));
	if (n_terms == 1)
		copy_term(out, begun, n, halves);
	if (arg_shared(args, TASK_NORMALIZE) && !(fabsf(weights) < 1e-8f))
		row_divide(out, weights, n);
}

/* The same as sum_voted() of two terms, in one go over memory. What is behind n
 * is known when it is compiled. */
static inline __attribute__((always_inline)) void
vote_loop(float *restrict out, struct term a, struct term b, size_t n,
	  bool whole, bool divides)
{
	for (size_t i = 0; i < n; i++) {
		float x = term_at(&a, i, whole), y = term_at(&b, i, whole);
		float votes = y + x;
		float keep_x = voter(x, votes), keep_y = voter(y, votes);
		float sum = (0 + x * keep_x) + y * keep_y;
		float weights = a.weight * keep_x + b.weight * keep_y;

		out[i] = divides ? sum / (weights == 0 ? 1 : weights) : sum;
	}
}

static void vote_two(float *restrict out, struct term a, struct term b,
		     bool divides, size_t n)
{
	if (a.base && divides)
		vote_loop(out, a, b, n, true, true);
	else if (a.base)
		vote_loop(out, a, b, n, true, false);
	else if (divides)
		vote_loop(out, a, b, n, false, true);
	else
		vote_loop(out, a, b, n, false, false);
}

/* A term whose base is subtracted. */
static struct term subtracted(struct term term, float *x, size_t n)
{
	if (term.base)
		task_delta(x, term.base, n);
	term.base = NULL;
	return term;
}

static void sum_two_kept(float *out, float *const *in, float *const *made,
			 uint64_t first, size_t n,
			 const struct method_args *args, const void *facts)
{
	unsigned a = args->base == 0, b = args->base == 2 ? 1 : 2;
	struct term x = make_term(in, made[a], first, n, a, args, facts);
	struct term y = make_term(in, made[b], first, n, b, args, facts);

	if (!x.base != !y.base) {
		x = subtracted(x, made[a], n);
		y = subtracted(y, made[b], n);
	}
	vote_two(out, x, y, arg_shared(args, TASK_NORMALIZE) != 0, n);
}

/* The same of those that the vote keeps. */
static void sum_kept(float *out, float *const *in, float *const *made,
		     uint64_t first, size_t n, const struct method_args *args,
		     const void *facts)
{
	if (args->n_inputs == 3) {
		sum_two_kept(out, in, made, first, n, args, facts);
		return;
	}

	for (unsigned i = 0; i < args->n_inputs; i++) {
		if ((int)i != args->base)
			weigh(made[i],
			      make_term(in, made[i], first, n, i, args, facts),
			      n);
	}
	for (size_t at = 0; at < n; at += CHUNK) {
		size_t now = n - at < CHUNK ? n - at : CHUNK;

		sum_voted(out + at, made, at, now, args);
	}
}

void task_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts)
{
	float room[TASK_HALVES_MOST + 1][TILE], *rooms[TASK_HALVES_MOST + 1];
	float *const *made = in;

	if (makes_vectors(args)) {
		for (unsigned i = 0; i < args->n_inputs; i++) {
			rooms[i] = room[i];
			row_ahead(in[i], n);
		}
		made = rooms;
	}
	if (task_of(args)->vote)
		sum_kept(out, in, made, first, n, args, facts);
	else
		sum_all(out, in, made, first, n, args, facts);
	add_base(out, in[args->base], (float)arg_shared(args, TASK_LAMBDA), n,
		 args->halves);
}
