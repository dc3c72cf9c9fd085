#include "merge/methods/task.h"

static const struct method_param params[] = {
	[TASK_DENSITY] = {.name = "density",
			  .summary = "without effect in this method",
			  .per_model = true,
			  .value = 1,
			  .min = 0,
			  .max = 1},
	[TASK_RESCALE] = {.name = "rescale",
			  .summary = "without effect in this method",
			  .type = PARAM_BOOL},
	TASK_PARAMS(0),
	{},
};

static const struct task_traits traits = {};

const struct method ISA_NAME(method_task_arithmetic) = {
	.name = "task_arithmetic",
	.title = "Task Arithmetic",
	.url = "https://arxiv.org/abs/2212.04089",
	.summary = "base plus the weighted sum of task vectors",
	.formula = "base + lambda sum w_i (x_i - base) (/ sum w_i)",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	.copies = task_copies,
	.takes_halves = method_takes_halves,
	.blend = task_blend,
};
