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

#define CHUNK 512 /* elements whose draws are compared at once */
#define GROUP 32

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

/*
 * Marks are, where elements are ranked, the bits of those that are kept: (rows
 * of a piece, task vectors, words of a row). Short rows would be mostly the
 * rest of a word.
 */
#define WORD 64

static size_t words_of_row(const struct method_args *args)
{
	return (args->row + WORD - 1) / WORD;
}

static size_t marks_size(const struct method_args *args)
{
	if (!task_of(args)->ranked || args->row < WORD)
		return 0;

	uint64_t rows = args->row < PIECE ? PIECE / args->row : 1;
	size_t size = rows * (args->n_inputs - 1) * words_of_row(args) *
		      sizeof(uint64_t);
	return size <= MARKS_MOST ? size : 0;
}

/* Words of a row, given the first of its elements. */
static size_t find_marks(const struct method_args *args, uint64_t piece,
			 uint64_t first, unsigned input)
{
	uint64_t row = (first - piece) / args->row;
	unsigned place = input - ((int)input > args->base);

	return (row * (args->n_inputs - 1) + place) * words_of_row(args);
}

struct method_sizes chance_sizes(unsigned pass, const struct method_args *args)
{
	size_t size = args->n_inputs * sizeof(struct chance_facts);
	size_t marks = marks_size(args);
	(void)pass;

	return (struct method_sizes){
		.part = size + marks,
		.sum = size,
		.marks = marks,
	};
}

/* Draws as they are compared with a chance, digit by digit. */
struct draws {
	uint8_t kept[CHUNK]; /* is it below? */
	uint8_t open[CHUNK]; /* is it the same so far? */
};

/* True if any is still open. */
static inline bool compare(struct draws *restrict draws,
			   const uint8_t *restrict digits, uint8_t chance,
			   bool first)
{
	uint8_t any = 0;

	for (size_t i = 0; i < CHUNK; i++) {
		uint8_t kept = first ? 0 : draws->kept[i];
		uint8_t open = first ? 1 : draws->open[i];

		draws->kept[i] = kept | (open & (digits[i] < chance));
		draws->open[i] = open & (digits[i] == chance);
		any |= draws->open[i];
	}
	return any;
}

/*
 * Which draws, of 32 bits, are below the chance. They are compared byte by
 * byte, each byte from a level of its own of the stream; so most of the lower
 * ones are never drawn.
 */
static void draw_alike(struct draws *draws, uint64_t first, double density,
		       const struct method_stream *stream)
{
	uint32_t chance = (uint32_t)(density * 0x1p32);
	unsigned level = 0;
	bool any;

	do {
		uint8_t digits[CHUNK], digit = (uint8_t)(chance >> 24);

		philox_fill(digits, stream->key, stream->nonce, level, first,
			    CHUNK);
		any = level == 0 ? compare(draws, digits, digit, true)
				 : compare(draws, digits, digit, false);
		level++;
		chance <<= 8;
	} while (any && chance);
}

/*
 * Groups of elements and their draws. Element 8 i + j has the draw 4 j + i, as
 * a register of words j, shifted, then has what eight neighbours ask for.
 */
static void drop_groups(float *restrict delta, const uint8_t *restrict kept,
			float factor, size_t n)
{
	for (size_t at = 0; at < n; at += GROUP)
		for (size_t i = 0; i < 4; i++)
			for (size_t j = 0; j < 8; j++) {
				uint32_t flags;

				memcpy(&flags, kept + at + 4 * j,
				       sizeof(flags));
				flags = flags >> 8 * i & 1;
				delta[at + 8 * i + j] *=
					(float)(int)flags * factor;
			}
}

/* n elements, the first of which is that with number `skip` of a group. */
static void drop_part(float *delta, size_t skip, size_t n, const uint8_t *kept,
		      float factor)
{
	float group[GROUP] = {};

	memcpy(group + skip, delta, n * sizeof(*delta));
	drop_groups(group, kept, factor, GROUP);
	memcpy(delta, group + skip, n * sizeof(*delta));
}

/* Elements by one chance. */
static void drop_alike(float *delta, uint64_t first, size_t n, float factor,
		       double density, const struct method_stream *stream)
{
	struct draws draws;
	size_t now;

	for (size_t at = 0; at < n; at += now) {
		size_t place = (first + at) % CHUNK, skip = place % GROUP;
		size_t left = n - at < CHUNK - place ? n - at : CHUNK - place;

		if (at == 0 || place == 0)
			draw_alike(&draws, first + at - place, density, stream);
		now = left / GROUP * GROUP;
		if (skip == 0 && now > 0) {
			drop_groups(delta + at, draws.kept + place, factor,
				    now);
			continue;
		}
		now = left < GROUP - skip ? left : GROUP - skip;
		drop_part(delta + at, skip, now, draws.kept + place - skip,
			  factor);
	}
}

static inline void drop_unset(float *delta, uint32_t bits, float factor,
			      size_t n)
{
	for (size_t i = 0; i < n; i++)
		delta[i] *= (float)(int)(bits >> i & 1) * factor;
}

static void drop_unmarked(float *delta, const uint64_t *keep, float factor,
			  size_t n)
{
	for (size_t at = 0; at < n; at += 32) {
		uint32_t bits = (uint32_t)(keep[at / 64] >> at % 64);
		size_t left = n - at;

		if (left >= 32)
			drop_unset(delta + at, bits, factor, 32);
		else
			drop_unset(delta + at, bits, factor, left);
	}
}

/* Marks of a row; NULL if they are not at hand. */
static const uint64_t *marks_of(const struct method_args *args, uint64_t first,
				unsigned input)
{
	const uint64_t *marks = args->marks;

	return marks ? marks + find_marks(args, args->piece, first, input)
		     : NULL;
}

static void rank_row(uint64_t *keep, const float *row, uint64_t first,
		     unsigned input, const struct method_args *args)
{
	const struct method_stream *stream = &args->streams[input];
	double density = arg_of(args, TASK_DENSITY, input);
	double epsilon = arg_of(args, TASK_OWN, input);
	struct rank_chances chances = {density - epsilon, density + epsilon};

	rank_keep(keep, row, args->row, &chances, stream->key, stream->nonce,
		  first);
}

/* Rows by rank; elements [first, first + n) are whole rows. */
static void drop_ranked(float *delta, uint64_t first, size_t n, float factor,
			unsigned input, const struct method_args *args)
{
	uint64_t keep[ROW_MOST / WORD];

	for (size_t at = 0; at < n; at += args->row) {
		const uint64_t *marks = marks_of(args, first + at, input);

		if (!marks)
			rank_row(keep, delta + at, first + at, input, args);
		drop_unmarked(delta + at, marks ? marks : keep, factor,
			      args->row);
	}
}

/* Multiplies dropped elements with zero, the others with factor. */
static void drop_some(float *delta, uint64_t first, size_t n, float factor,
		      unsigned input, const struct method_args *args)
{
	if (task_of(args)->ranked)
		drop_ranked(delta, first, n, factor, input, args);
	else
		drop_alike(delta, first, n, factor,
			   arg_of(args, TASK_DENSITY, input),
			   &args->streams[input]);
}

/* What becomes marks where there are any. */
static uint64_t *part_marks(const struct method_scan *scan,
			    const struct method_args *args)
{
	struct chance_facts *facts = scan->part;

	return marks_size(args) ? (uint64_t *)(facts + args->n_inputs) : NULL;
}

static void mark_rows(uint64_t *marks, const struct method_scan *scan,
		      unsigned input, const struct method_args *args)
{
	for (size_t at = 0; at < scan->n; at += args->row) {
		uint64_t first = scan->first + at;

		rank_row(marks + find_marks(args, scan->piece, first, input),
			 scan->in[input] + at, first, input, args);
	}
}

void chance_scan(const struct method_scan *scan, const struct method_args *args)
{
	struct chance_facts *parts = scan->part;
	uint64_t *marks = part_marks(scan, args);
	struct method_args own = *args;

	own.marks = marks;
	own.piece = scan->piece;
	for (unsigned i = 0; i < args->n_inputs; i++) {
		float *delta = scan->in[i];
		if (!by_chance(args, i))
			continue;

		task_delta(delta, scan->in[args->base], scan->n);
		parts[i].before += select_sum(delta, scan->n);
		if (marks)
			mark_rows(marks, scan, i, args);
		drop_some(delta, scan->first, scan->n, 1, i, &own);
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
	drop_some(delta, first, n,
		  own ? task_factor(own[input].before, own[input].after) : 1,
		  input, args);
}
