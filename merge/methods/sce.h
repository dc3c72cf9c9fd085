/*
 * SCE: select the elements that vary most between the task vectors, calculate
 * a weight of each from its squares, erase elements against the majority of
 * signs (Wan et al., FuseChat, 2024).
 */
#ifndef MERGE_METHODS_SCE_H
#define MERGE_METHODS_SCE_H

#include "merge/kernels/isa.h"
#include "merge/kernels/rows.h"
#include "merge/kernels/select.h"
#include "merge/methods/method.h"

#define sce_facts_size ISA_NAME(sce_facts_size)
#define sce_sizes ISA_NAME(sce_sizes)
#define sce_begin ISA_NAME(sce_begin)
#define sce_scan ISA_NAME(sce_scan)
#define sce_reach ISA_NAME(sce_reach)
#define sce_fold ISA_NAME(sce_fold)
#define sce_settle ISA_NAME(sce_settle)

enum sce_param {
	SCE_TOPK,
	SCE_INT8_MASK,
};

struct sce_facts {
	struct select cut;
	uint64_t varying, keep; /* elements */
	double squares[];	/* (n_inputs,) sums over what is kept */
};

/* Are some elements dropped? */
static inline bool sce_selects(const struct method_args *args)
{
	return arg_shared(args, SCE_TOPK) < 1;
}

/* More task vectors are made of floats only. */
#define SCE_HALVES_MOST 4

/* Task vectors, in place of inputs that are floats. */
struct sce_vectors {
	float *x[INPUTS_MOST];
	unsigned n;
	float room[SCE_HALVES_MOST][TILE];
};

static inline void sce_find_vectors(struct sce_vectors *ret, float *const *in,
				    size_t n, const struct method_args *args)
{
	const float *base = in[args->base];

	ret->n = 0;
	for (unsigned i = 0; i < args->n_inputs; i++) {
		if (args->halves)
			row_ahead(in[i], n);
		if ((int)i == args->base)
			continue;
		float *x = args->halves ? ret->room[ret->n] : in[i];
		if (args->halves)
			row_delta(x, in[i], base, n, true);
		else
			row_subtract(x, base, n);
		ret->x[ret->n++] = x;
	}
}

size_t sce_facts_size(const struct method_args *args);
struct method_sizes sce_sizes(unsigned pass, const struct method_args *args);
void sce_begin(void *part, unsigned pass, const struct method_args *args);
void sce_scan(const struct method_scan *scan, const struct method_args *args);
size_t sce_reach(const struct method_scan *scan,
		 const struct method_args *args);
void sce_fold(void *sum, const void *part, unsigned pass, const void *facts,
	      const struct method_args *args);
unsigned sce_settle(void *facts, unsigned pass, const void *sum,
		    const struct method_args *args);

#endif
