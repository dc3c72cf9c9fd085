#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(1),
	TASK_PARAMS(1),
	[TASK_OWN] = {.name = "epsilon",
		      .summary = "half the spread of chances around density",
		      .per_model = true,
		      .value = 0.15,
		      .min = 0,
		      .max = 0.5},
	{},
};

static const struct task_traits traits = {
	.vote = true,
	.ranked = true,
	.prune = chance_prune,
};

const struct method ISA_NAME(method_della) = {
	.name = "della",
	.title = "DELLA",
	.url = "https://arxiv.org/abs/2406.11617",
	.summary = "della_linear, by majority of signs",
	.formula = "as della_linear; elements against the sign of the weighted "
		   "sum left "
		   "out",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	.by_rows = della_by_rows,
	.check = della_check,
	TASK_CHANCE,
};
