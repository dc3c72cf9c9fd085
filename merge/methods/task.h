/*
 * The family of task vectors: each is pruned (or not), scaled so that its sum
 * of magnitudes stays (or not), weighted, and all are summed up onto the base,
 * with or without a vote on the sign of every element.
 *
 * A method's file has its parameters, in the order of the enum, and its traits.
 */
#ifndef MERGE_METHODS_TASK_H
#define MERGE_METHODS_TASK_H

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"

#define task_copies ISA_NAME(task_copies)
#define task_blend ISA_NAME(task_blend)
#define magnitude_takes_halves ISA_NAME(magnitude_takes_halves)
#define task_combine ISA_NAME(task_combine)
#define magnitude_facts_size ISA_NAME(magnitude_facts_size)
#define magnitude_sizes ISA_NAME(magnitude_sizes)
#define magnitude_begin ISA_NAME(magnitude_begin)
#define magnitude_scan ISA_NAME(magnitude_scan)
#define magnitude_reach ISA_NAME(magnitude_reach)
#define magnitude_fold ISA_NAME(magnitude_fold)
#define magnitude_settle ISA_NAME(magnitude_settle)
#define magnitude_tell ISA_NAME(magnitude_tell)
#define magnitude_prune ISA_NAME(magnitude_prune)
#define chance_facts_size ISA_NAME(chance_facts_size)
#define chance_sizes ISA_NAME(chance_sizes)
#define chance_scan ISA_NAME(chance_scan)
#define chance_fold ISA_NAME(chance_fold)
#define chance_settle ISA_NAME(chance_settle)
#define chance_tell ISA_NAME(chance_tell)
#define chance_prune ISA_NAME(chance_prune)
#define della_by_rows ISA_NAME(della_by_rows)
#define della_check ISA_NAME(della_check)

enum task_param {
	TASK_WEIGHT,
	TASK_DENSITY,
	TASK_NORMALIZE,
	TASK_RESCALE,
	TASK_LAMBDA,
	TASK_INT8_MASK,
	TASK_OWN, /* the method's own: gamma or epsilon */
};

struct task_traits {
	bool vote;     /* elements against the sign of the sum are dropped */
	bool outliers; /* the largest are pruned, too, a share of gamma */
	bool ranked;   /* chances by rank in the row, within epsilon */
	/*
	 * Optional: prunes and scales the task vector of one input, elements
	 * [first, first + n), in place.
	 */
	void (*prune)(float *delta, uint64_t first, size_t n, unsigned input,
		      const struct method_args *args, const void *facts);
};

static inline const struct task_traits *task_of(const struct method_args *args)
{
	return args->traits;
}

/* Is the task vector of this input pruned? Elsewhere all is kept. */
static inline bool task_prunes(const struct method_args *args, unsigned input)
{
	return (int)input != args->base &&
	       arg_of(args, TASK_DENSITY, input) < 1;
}

/* More task vectors are pruned from floats only. */
#define TASK_HALVES_MOST 4

static inline void task_delta(float *restrict x, const float *restrict base,
			      size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = x[i] - base[i];
}

/* What a pruned vector is multiplied with, from its sums of magnitudes. */
static inline float task_factor(double before, double after)
{
	return before < 1e-7 || after < 1e-7 ? 1 : (float)before / (float)after;
}

int task_copies(const struct method_args *args);
void task_blend(float *out, float *const *in, uint64_t first, size_t n,
		const struct method_args *args, const void *facts);

/* Pruned by magnitude: task_magnitude.c. */
bool magnitude_takes_halves(const struct method_args *args);
size_t magnitude_facts_size(const struct method_args *args);
struct method_sizes magnitude_sizes(unsigned pass,
				    const struct method_args *args);
void magnitude_begin(void *part, unsigned pass, const struct method_args *args);
void magnitude_scan(const struct method_scan *scan,
		    const struct method_args *args);
size_t magnitude_reach(const struct method_scan *scan,
		       const struct method_args *args);
void magnitude_fold(void *sum, const void *part, unsigned pass,
		    const void *facts, const struct method_args *args);
unsigned magnitude_settle(void *facts, unsigned pass, const void *sum,
			  const struct method_args *args);
bool magnitude_tell(struct method_fact *ret, unsigned i, const void *facts,
		    const struct method_args *args);
void magnitude_prune(float *delta, uint64_t first, size_t n, unsigned input,
		     const struct method_args *args, const void *facts);

/* Pruned by chance: task_chance.c. */
size_t chance_facts_size(const struct method_args *args);
struct method_sizes chance_sizes(unsigned pass, const struct method_args *args);
void chance_scan(const struct method_scan *scan,
		 const struct method_args *args);
void chance_fold(void *sum, const void *part, unsigned pass, const void *facts,
		 const struct method_args *args);
unsigned chance_settle(void *facts, unsigned pass, const void *sum,
		       const struct method_args *args);
bool chance_tell(struct method_fact *ret, unsigned i, const void *facts,
		 const struct method_args *args);
void chance_prune(float *delta, uint64_t first, size_t n, unsigned input,
		  const struct method_args *args, const void *facts);

/* Rows must be whole where elements are ranked in them; and all chances must be
 * between 0 and 1. */
bool della_by_rows(const struct method_args *args);
int della_check(const struct method_args *args, struct error *err);

#define TASK_PARAMS(normalized)                                            \
	[TASK_WEIGHT] = {.name = "weight",                                 \
			 .summary = "factor of this model's task vector",  \
			 .per_model = true,                                \
			 .required = true},                                \
	[TASK_NORMALIZE] = {.name = "normalize",                           \
			    .summary = "divide by the sum of the weights", \
			    .type = PARAM_BOOL,                            \
			    .value = normalized},                          \
	[TASK_LAMBDA] = {.name = "lambda",                                 \
			 .summary = "factor of the sum of task vectors",   \
			 .value = 1},                                      \
	[TASK_INT8_MASK] = {.name = "int8_mask",                           \
			    .summary = "without effect on the result",     \
			    .type = PARAM_BOOL}

/* Of the methods that prune. */
#define TASK_PRUNING(rescaled)                                                \
	[TASK_DENSITY] = {.name = "density",                                  \
			  .summary = "share of the task vector that is kept", \
			  .per_model = true,                                  \
			  .value = 1,                                         \
			  .min = 0,                                           \
			  .max = 1},                                          \
	[TASK_RESCALE] = {.name = "rescale",                                  \
			  .summary = "scale what is kept to the magnitude "   \
				     "of all",                                \
			  .type = PARAM_BOOL,                                 \
			  .value = rescaled}

#define TASK_MAGNITUDE                                                \
	.takes_halves = magnitude_takes_halves,                       \
	.facts_size = magnitude_facts_size, .sizes = magnitude_sizes, \
	.begin = magnitude_begin, .scan = magnitude_scan,             \
	.reach = magnitude_reach, .fold = magnitude_fold,             \
	.settle = magnitude_settle, .tell = magnitude_tell,           \
	.copies = task_copies, .blend = task_blend

#define TASK_CHANCE                                                          \
	.random = true, .facts_size = chance_facts_size,                     \
	.sizes = chance_sizes, .scan = chance_scan, .fold = chance_fold,     \
	.settle = chance_settle, .tell = chance_tell, .copies = task_copies, \
	.blend = task_blend

#endif
