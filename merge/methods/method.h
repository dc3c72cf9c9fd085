/*
 * A merge method: a constant made of pure functions.
 *
 * It cannot fail, allocate, read files or log; everything that can be wrong
 * with a recipe is judged from the declaration before any function is called.
 * methods.def is the list, of planned methods too; the recipe checker, --help,
 * the docs' test and the law tests walk it.
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

struct method_args {
	unsigned n_inputs;
	int base; /* index of the base among the inputs, or -1 */
	/*
	 * (n_params, n_inputs) by place in method.params; a shared parameter
	 * has the same value for every input.
	 */
	const double *values;
	uint64_t count; /* elements of the tensor */
	uint64_t row;	/* length of its last dimension; 1 for a scalar */
};

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

struct method {
	const char *name;
	const char *title;   /* as in a model card: "Task Arithmetic" */
	const char *url;     /* of the paper or page, or NULL */
	const char *summary; /* one line, for people */
	enum method_base base;
	/*
	 * Number of inputs, the base included unless it is BASE_OPTIONAL.
	 * max_inputs 0: no limit. A tensor that fewer of the inputs have is
	 * carried over, not merged.
	 */
	unsigned min_inputs, max_inputs;
	const struct method_param *params;

	/*
	 * Optional: why such parameters make no sense for a tensor, as a clause
	 * for people ("the weights sum to zero ..."), or NULL if they do.
	 */
	const char *(*refuses)(const struct method_args *args);

	/*
	 * Optional: the input whose values are the result bit for bit, or -1.
	 */
	int (*copies)(const struct method_args *args);

	/*
	 * Optional: facts about the whole tensor, gathered before any blend.
	 * The tensor is cut into pieces of a fixed size. In every pass each
	 * piece is scanned into a zeroed part of facts_size bytes, tile after
	 * tile; then the parts are folded into the zeroed facts (of the first
	 * pass; later passes go on with the facts as they are), in the order of
	 * the pieces; then settle() ends the pass. So the result does not
	 * depend on threads. Facts are plain bytes, without pointers, and the
	 * same on every machine: they are kept in the cache. facts_size is a
	 * multiple of 8, and parts and facts are aligned to 8.
	 */
	unsigned n_passes;
	size_t (*facts_size)(const struct method_args *args);
	void (*scan)(void *part, unsigned pass, const void *facts,
		     const float *const *in, uint64_t first, size_t n,
		     const struct method_args *args);
	void (*fold)(void *facts, unsigned pass, const void *part,
		     const struct method_args *args);
	void (*settle)(void *facts, unsigned pass,
		       const struct method_args *args);

	/*
	 * Elements [first, first + n) of the result from the same range of
	 * each input; n is at most TILE. `out` aliases no input. Called from
	 * many threads; facts is NULL for methods without.
	 */
	void (*blend)(float *out, const float *const *in, uint64_t first,
		      size_t n, const struct method_args *args,
		      const void *facts);
};

/* Methods of the plainest instruction set, for their declarations. NULL-ended.
 */
const struct method *const *method_all(void);
const struct method *method_find(const char *name);

/* Place of a parameter in method->params, or -1. */
int method_param_find(const struct method *method, const char *name);

/* Names of MergeKit methods that are not built here yet, NULL-ended. */
const char *const *method_planned(void);

/*
 * Is this a parameter of any MergeKit method, built here or not? Published
 * recipes carry parameters of other methods; those only deserve a warning.
 */
bool method_knows_param(const char *name);

/* All parameter names of all methods, NULL-ended, for "did you mean". */
const char *const *method_param_names(void);

#endif
