#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(0),
	TASK_PARAMS(0),
	[TASK_OWN] = {.name = "gamma",
		      .summary =
			      "share of the largest elements that is dropped",
		      .per_model = true,
		      .value = 0.01,
		      .min = 0,
		      .max = 1},
	{},
};

static const struct task_traits traits = {
	.outliers = true,
	.prune = magnitude_prune,
};

const struct method ISA_NAME(method_breadcrumbs) = {
	.name = "breadcrumbs",
	.title = "Model Breadcrumbs",
	.url = "https://arxiv.org/abs/2312.06795",
	.summary = "task vectors without their smallest elements and outliers",
	.formula = "base + lambda sum w_i p_i (/ sum w_i), p_i the density * n "
		   "largest "
		   "elements of x_i - base below its gamma * n outliers",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	TASK_MAGNITUDE,
};
