#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(1),
	TASK_PARAMS(0),
	[TASK_OWN] = {.name = "epsilon",
		      .summary = "half the spread of chances around density",
		      .per_model = true,
		      .value = 0.15,
		      .min = 0,
		      .max = 0.5},
	{},
};

static const struct task_traits traits = {
	.ranked = true,
	.prune = chance_prune,
};

const struct method ISA_NAME(method_della_linear) = {
	.name = "della_linear",
	.title = "Linear DELLA",
	.url = "https://arxiv.org/abs/2406.11617",
	.summary = "random elements of each task vector, larger ones rather, "
		   "scaled up",
	.formula =
		"base + lambda sum w_i p_i (/ sum w_i), p_i elements of x_i - "
		"base, "
		"kept with chance density - epsilon to density + epsilon by "
		"rank of magnitude in the row, scaled to the magnitude of all",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	.by_rows = della_by_rows,
	.check = della_check,
	TASK_CHANCE,
};
