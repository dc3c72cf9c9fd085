#include "merge/kernels/isa.h"
#include "merge/methods/contributions.h"
#include "merge/methods/gather.h"

enum {
	R,
	ALPHA,
	EPSILON,
};

static const struct method_param params[] = {
	[R] = {.name = "r",
	       .summary =
		       "how much unique elements gain by the share of shared "
		       "ones",
	       .value = 0.1},
	[ALPHA] = {.name = "alpha",
		   .summary = "the most of that share that counts",
		   .value = 0.2,
		   .min = 0,
		   .max = 1e30},
	[EPSILON] = {.name = "epsilon",
		     .summary = "larger elements of a task vector contribute",
		     .value = 1e-5,
		     .min = 0,
		     .max = 1e30},
	{},
};

/* Of one input. */
struct numbers {
	uint64_t unique, shared; /* elements that it contributes to */
};

static int ramplus_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? args->base : -1;
}

static size_t ramplus_facts_size(const struct method_args *args)
{
	return args->n_inputs * sizeof(struct numbers);
}

static struct method_sizes ramplus_sizes(unsigned pass,
					 const struct method_args *args)
{
	size_t size = ramplus_facts_size(args);
	(void)pass;

	return (struct method_sizes){.part = size, .sum = size};
}

static void count_kinds(struct numbers *numbers, const float *restrict delta,
			const float *restrict counts, size_t n)
{
	uint32_t unique = 0, shared = 0;

	for (size_t i = 0; i < n; i++) {
		bool has = delta[i] != 0;

		unique += has & (counts[i] == 1);
		shared += has & (counts[i] > 1);
	}
	numbers->unique += unique;
	numbers->shared += shared;
}

EITHER_KIND void count_two_of(struct numbers *a_numbers,
			      struct numbers *b_numbers,
			      const float *restrict base,
			      const float *restrict a, const float *restrict b,
			      float epsilon, size_t n, bool halves)
{
	uint32_t of_a = 0, of_b = 0, shared = 0;

	for (size_t i = 0; i < n; i++) {
		uint32_t own = is_larger(row_less(a, base, i, halves), epsilon);
		uint32_t other =
			is_larger(row_less(b, base, i, halves), epsilon);

		of_a += own;
		of_b += other;
		shared += own & other;
	}
	a_numbers->unique += of_a - shared;
	a_numbers->shared += shared;
	b_numbers->unique += of_b - shared;
	b_numbers->shared += shared;
}

static void count_two(struct numbers *numbers, struct two two,
		      const struct method_scan *scan, float epsilon,
		      const struct method_args *args)
{
	const float *base = scan->in[args->base];
	const float *a = scan->in[two.a], *b = scan->in[two.b];

	if (args->halves)
		count_two_of(&numbers[two.a], &numbers[two.b], base, a, b,
			     epsilon, scan->n, true);
	else
		count_two_of(&numbers[two.a], &numbers[two.b], base, a, b,
			     epsilon, scan->n, false);
}

static void ramplus_scan(const struct method_scan *scan,
			 const struct method_args *args)
{
	float *const *in = scan->in;
	float epsilon = (float)arg_shared(args, EPSILON);
	struct numbers *numbers = scan->part;
	float counts[TILE];
	struct two two;
	if (find_two(&two, args)) {
		count_two(numbers, two, scan, epsilon, args);
		return;
	}

	find_contributions(counts, in, scan->n, epsilon, args);
	for (unsigned i = 0; i < args->n_inputs; i++)
		if ((int)i != args->base)
			count_kinds(&numbers[i], in[i], counts, scan->n);
}

static void ramplus_fold(void *sum, const void *part, unsigned pass,
			 const void *facts, const struct method_args *args)
{
	(void)pass;
	(void)facts;

	add_counts(sum, part, 2 * args->n_inputs);
}

static unsigned ramplus_settle(void *facts, unsigned pass, const void *sum,
			       const struct method_args *args)
{
	(void)pass;

	memcpy(facts, sum, ramplus_facts_size(args));
	return 0;
}

/* What unique elements of one input are multiplied with. */
static float find_factor(const struct numbers *numbers,
			 const struct method_args *args)
{
	double unique =
		fmax((double)numbers->unique, arg_shared(args, EPSILON));
	double share = (double)numbers->shared / unique;
	double most = arg_shared(args, ALPHA);

	return (float)(1 + arg_shared(args, R) * (share < most ? share : most));
}

static bool ramplus_tell(struct method_fact *ret, unsigned i, const void *facts,
			 const struct method_args *args)
{
	const struct numbers *numbers = facts;
	if (i >= 3 * args->n_inputs)
		return false;

	numbers += i / 3;
	*ret = (struct method_fact){.input = (int)(i / 3)};
	if ((int)i / 3 == args->base)
		return true;
	ret->name = i % 3 == 0	 ? "elements it alone changes"
		    : i % 3 == 1 ? "elements it changes with others"
				 : "unique elements times";
	ret->value = i % 3 == 0	  ? (double)numbers->unique
		     : i % 3 == 1 ? (double)numbers->shared
				  : (double)find_factor(numbers, args);
	return true;
}

static void ramplus_blend(float *out, float *const *in, uint64_t first,
			  size_t n, const struct method_args *args,
			  const void *facts)
{
	const struct numbers *numbers = facts;
	float factors[INPUTS_MOST];
	(void)first;

	for (unsigned i = 0; i < args->n_inputs; i++)
		factors[i] = find_factor(&numbers[i], args);
	blend_contributions(out, in, n, (float)arg_shared(args, EPSILON),
			    factors, args);
}

const struct method ISA_NAME(method_ramplus_tl) = {
	.name = "ramplus_tl",
	.title = "Reinforced Agent Merging Plus (Tensor-Local)",
	.url = "https://arxiv.org/abs/2601.13572",
	.summary = "ram, with more weight on what one model alone has learnt",
	.formula = "as ram, elements of one model alone times 1 + r min(shared "
		   "/ unique, alpha), the numbers of its elements of each kind",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.copies = ramplus_copies,
	.takes_halves = contributions_take_halves,
	.facts_size = ramplus_facts_size,
	.sizes = ramplus_sizes,
	.scan = ramplus_scan,
	.fold = ramplus_fold,
	.settle = ramplus_settle,
	.tell = ramplus_tell,
	.blend = ramplus_blend,
};
