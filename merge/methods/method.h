/*
 * A merge method: a constant made of pure functions.
 *
 * It cannot fail, allocate, read files or log; everything that can be wrong
 * with a recipe is judged from the declaration before any function is called.
 * methods.def is the list; the recipe checker, --help, the docs' test and the
 * law tests walk it.
 *
 * Words: the *inputs* of a merge are the tensors of the models that have it, in
 * the recipe's order. One of them may be the *base*. A *task vector* is an
 * input minus the base.
 */
#ifndef MERGE_METHODS_METHOD_H
#define MERGE_METHODS_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"

/* Elements that a pass over a tensor scans into one part; of a method by rows
 * as many whole rows. */
#define PIECE ((uint64_t)1 << 18)

/* Bytes of marks that a piece may have. */
#define MARKS_MOST ((size_t)1 << 20)

/* Longer rows are refused for methods by rows: a thread holds one of each
 * input. */
#define ROW_MOST ((uint64_t)1 << 20)

/* More inputs are refused, so that what is kept of each has room on a stack. */
#define INPUTS_MOST 128

enum param_type {
	PARAM_FLOAT,
	PARAM_INT,
	PARAM_BOOL,
};

struct method_param {
	const char *name;    /* NULL ends the list */
	const char *summary; /* a few words, for people */
	enum param_type type;
	bool per_model;	 /* else one value for all inputs */
	bool required;	 /* per model: for the base only where it is an input */
	double value;	 /* default when not required */
	double min, max; /* allowed interval; min == max == 0: any finite */
};

enum method_base {
	BASE_ORDINARY, /* no meaning to the method: an input like the others */
	BASE_OPTIONAL, /* subtracted from the others where given */
	BASE_REQUIRED,
};

/* Where a random method draws the numbers of one input from. */
struct method_stream {
	uint64_t key, nonce;
};

struct method_args {
	unsigned n_inputs;
	int base; /* index of the base among the inputs, or -1 */
	/*
	 * (n_params, n_inputs) by place in method.params; a shared parameter
	 * has the same value for every input.
	 */
	const double *values;
	uint64_t count;	 /* elements of the tensor */
	uint64_t row;	 /* length of its last dimension; 1 for a scalar */
	uint64_t stride; /* elements between neighbours along the first one */
	const struct method_stream *streams; /* (n_inputs,) if it is random */
	const void *traits;		     /* the method's own */
	/* Are the inputs of scan and blend rows of halves (kernels/half.h),
	 * which may not be overwritten? */
	bool halves;
	/* Of a blend, marks that the scan has left of these elements' piece,
	 * which begins with element `piece`; or NULL: they are to be found out
	 * again. */
	const void *marks;
	uint64_t piece;
};

/* Elements that are scanned and blended at once by a method by rows: whole
 * ones, none of which is empty. */
static inline uint64_t method_unit(uint64_t row)
{
	return row < TILE ? TILE / row * row : row;
}

/* The value of parameter p, shared or of one input. */
static inline double arg_shared(const struct method_args *args, unsigned p)
{
	return args->values[(size_t)p * args->n_inputs];
}
static inline double arg_of(const struct method_args *args, unsigned p,
			    unsigned input)
{
	return args->values[(size_t)p * args->n_inputs + input];
}

/* The values of all inputs. */
static inline const double *args_of(const struct method_args *args, unsigned p)
{
	return args->values + (size_t)p * args->n_inputs;
}

/*
 * One step of gathering facts: a range of the inputs, or, for methods by rows,
 * whole rows of them.
 */
struct method_scan {
	unsigned pass;
	const void *facts; /* as the passes before have left them */
	uint64_t piece;	   /* first element of the piece */
	void *part;	   /* of this piece alone, begun before it */
	/* Shared by all pieces, zeroed before the pass. While others scan, too,
	 * only slots that belong to these elements may be written. */
	void *sum;
	uint64_t first;
	size_t n;
	float *const *in; /* (n_inputs, n), may be overwritten */
};

/*
 * Bytes that one pass works with, multiples of 8. The last ones of a part may
 * be marks: what blends of the same elements had else to find out once more.
 */
struct method_sizes {
	size_t part, sum;
	size_t marks; /* of the part; at most MARKS_MOST */
};

/* A fact for people. */
struct method_fact {
	const char *name;
	int input; /* or -1: of all together */
	double value;
};

struct error;

struct method {
	const char *name;
	const char *title;   /* as in a model card: "Task Arithmetic" */
	const char *url;     /* of the paper or page, or NULL */
	const char *summary; /* one line, for people */
	const char *formula; /* one line, for people */
	enum method_base base;
	/*
	 * Number of inputs, the base included unless it is BASE_OPTIONAL.
	 * max_inputs 0: no limit. A tensor that fewer of the inputs have is
	 * carried over, not merged.
	 */
	unsigned min_inputs, max_inputs;
	/* ... unless it makes sense of fewer inputs, and of them without base
	 */
	bool of_any_inputs;
	const struct method_param *params;
	const void *traits; /* what methods that share functions differ in */
	bool random;	    /* draws from args.streams */

	/*
	 * Optional: do such parameters make sense for a tensor? 0, or -EINVAL
	 * and a clause for people ("the weights sum to zero ...").
	 */
	int (*check)(const struct method_args *args, struct error *err);

	/*
	 * Optional: the input whose values are the result, or -1. Nothing else
	 * is asked then.
	 */
	int (*copies)(const struct method_args *args);

	/*
	 * Optional: are scan and blend to be given whole rows (along the last
	 * dimension)? They then get a few rows that follow each other.
	 */
	bool (*by_rows)(const struct method_args *args);

	/*
	 * Optional: can scan and blend be given halves? Only done where all
	 * inputs are, and not by rows.
	 */
	bool (*takes_halves)(const struct method_args *args);

	/*
	 * Optional: facts about the whole tensor, gathered before any blend, in
	 * one or more passes. In every pass the tensor is cut into pieces of a
	 * fixed size; each piece is scanned into a part, step after step; then
	 * the parts are folded into the sum in the order of the pieces; then
	 * settle() turns the sum into facts and returns the number of the next
	 * pass, or 0 if that was the last; the first is number 0. So the
	 * result does not depend on threads.
	 *
	 * Facts are plain bytes, without pointers, and the same on every
	 * machine: they are kept in the cache. facts_size is a multiple of 8,
	 * and all is aligned to 8; size 0: no facts for such parameters.
	 */
	size_t (*facts_size)(const struct method_args *args);
	struct method_sizes (*sizes)(unsigned pass,
				     const struct method_args *args);
	/* Optional: zeroes what must be of a part before its piece; else all of
	 * it is. */
	void (*begin)(void *part, unsigned pass,
		      const struct method_args *args);
	void (*scan)(const struct method_scan *scan,
		     const struct method_args *args);
	/* Optional: how many of scan->n elements, from the first one on, does
	 * the pass need? They alone are computed; 0: it is not scanned. */
	size_t (*reach)(const struct method_scan *scan,
			const struct method_args *args);
	void (*fold)(void *sum, const void *part, unsigned pass,
		     const void *facts, const struct method_args *args);
	unsigned (*settle)(void *facts, unsigned pass, const void *sum,
			   const struct method_args *args);

	/*
	 * Optional: facts for people. Called with i = 0, 1, ... until it
	 * returns false.
	 */
	bool (*tell)(struct method_fact *ret, unsigned i, const void *facts,
		     const struct method_args *args);

	/*
	 * Elements [first, first + n) of the result from the same range of
	 * each input, which may be overwritten; n is at most TILE, or whole
	 * rows. `out` aliases no input. Called from many threads; facts is NULL
	 * for methods without.
	 */
	void (*blend)(float *out, float *const *in, uint64_t first, size_t n,
		      const struct method_args *args, const void *facts);
};

/* Has a tensor with such parameters facts? */
static inline bool method_has_facts(const struct method *method,
				    const struct method_args *args)
{
	return method->facts_size && method->facts_size(args) > 0;
}

/* For methods that always do. */
static inline bool method_takes_halves(const struct method_args *args)
{
	(void)args;
	return true;
}

/* Methods of the plainest instruction set, for their declarations. NULL-ended.
 */
const struct method *const *method_all(void);
const struct method *method_find(const char *name);

/* Parameters of a method. */
size_t method_param_count(const struct method *method);

/* Place of a parameter in method->params, or -1. */
int method_param_find(const struct method *method, const char *name);

/*
 * Is this a parameter of any method? Published recipes carry parameters of
 * other methods; those only deserve a warning.
 */
bool method_knows_param(const char *name);

#endif
