#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(0),
	TASK_PARAMS(1),
	{},
};

static const struct task_traits traits = {
	.vote = true,
	.prune = magnitude_prune,
};

const struct method ISA_NAME(method_ties) = {
	.name = "ties",
	.title = "TIES",
	.url = "https://arxiv.org/abs/2306.01708",
	.summary = "the largest elements of each task vector, by majority of "
		   "signs",
	.formula = "base + lambda sum w_i p_i (/ sum w_i), p_i the density * n "
		   "largest "
		   "elements of x_i - base; elements against the sign of the "
		   "weighted sum left out",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	TASK_MAGNITUDE,
};
