/*
 * Model Stock: between the base and the mean of its fine-tunes, the nearer to
 * the mean the more alike their task vectors are (Jang et al., 2024).
 */
#include <math.h>

#include "merge/kernels/gram.h"
#include "merge/methods/span.h"

/* Lengths of task vectors whose product is smaller count as this product. */
#define SHORT 1e-6

enum {
	FILTER_WISE,
};

static const struct method_param params[] = {
	[FILTER_WISE] = {.name = "filter_wise",
			 .summary = "every row by itself",
			 .type = PARAM_BOOL},
	{},
};

/* A tensor that too few have is their plain mean. */
static bool plain_mean(const struct method_args *args)
{
	return args->base < 0 || args->n_inputs < 3;
}

static bool stock_by_rows(const struct method_args *args)
{
	return arg_shared(args, FILTER_WISE) && !plain_mean(args);
}

static int stock_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? 0 : -1;
}

/* The mean of the cosines between task vectors. */
static double mean_cosine(const double *gram, unsigned n)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		for (unsigned j = i + 1; j < n; j++) {
			double lengths = sqrt(gram[gram_index(n, i, i)]) *
					 sqrt(gram[gram_index(n, j, j)]);
			double cosine = gram[gram_index(n, i, j)] /
					(lengths < SHORT ? SHORT : lengths);
			sum += cosine < -1 ? -1 : cosine > 1 ? 1 : cosine;
		}
	return sum / (n * (n - 1) / 2.0);
}

static void solve(double *coefs, const double *gram, unsigned n,
		  const struct method_args *args)
{
	double share = 1;

	if (plain_mean(args)) {
		/* With a base the mean counts it, too. */
		n = span_vectors(args);
		for (unsigned i = 0; i < n; i++)
			coefs[i] = 1.0 / args->n_inputs;
		return;
	}
	double cosine = mean_cosine(gram, n);
	double rest = 1 + (n - 1) * cosine;
	share = fabs(rest) < 1e-6 ? 0 : n * cosine / rest;
	for (unsigned i = 0; i < n; i++)
		coefs[i] = share / n;
}

static const struct span_traits traits = {
	.from_base = true,
	.solve = solve,
	.by_rows = stock_by_rows,
};

const struct method ISA_NAME(method_model_stock) = {
	.name = "model_stock",
	.title = "Model Stock",
	.url = "https://arxiv.org/abs/2403.19522",
	.summary = "base and the mean of its fine-tunes, by how alike they are",
	.formula = "t mean(x_i) + (1 - t) base, t = n c / (1 + (n - 1) c), c "
		   "the mean cosine of the n task vectors",
	.base = BASE_REQUIRED,
	.min_inputs = 3,
	.of_any_inputs = true,
	.params = params,
	.traits = &traits,
	.copies = stock_copies,
	.by_rows = stock_by_rows,
	SPAN_FUNCTIONS,
};
