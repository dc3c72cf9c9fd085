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
	.vote = true,
	.outliers = true,
	.prune = magnitude_prune,
};

const struct method ISA_NAME(method_breadcrumbs_ties) = {
	.name = "breadcrumbs_ties",
	.title = "Model Breadcrumbs with TIES",
	.url = "https://arxiv.org/abs/2312.06795",
	.summary = "breadcrumbs, by majority of signs",
	.formula = "as breadcrumbs; elements against the sign of the weighted "
		   "sum left "
		   "out",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	TASK_MAGNITUDE,
};
