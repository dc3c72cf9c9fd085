#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(1),
	TASK_PARAMS(0),
	{},
};

static const struct task_traits traits = {
	.prune = chance_prune,
};

const struct method ISA_NAME(method_dare_linear) = {
	.name = "dare_linear",
	.title = "Linear DARE",
	.url = "https://arxiv.org/abs/2311.03099",
	.summary = "random elements of each task vector, scaled up",
	.formula =
		"base + lambda sum w_i p_i (/ sum w_i), p_i elements of x_i - "
		"base, "
		"each kept with chance density, scaled to the magnitude of all",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	TASK_CHANCE,
};
