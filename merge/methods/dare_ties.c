#include "merge/methods/task.h"

static const struct method_param params[] = {
	TASK_PRUNING(1),
	TASK_PARAMS(0),
	{},
};

static const struct task_traits traits = {
	.vote = true,
	.prune = chance_prune,
};

const struct method ISA_NAME(method_dare_ties) = {
	.name = "dare_ties",
	.title = "DARE TIES",
	.url = "https://arxiv.org/abs/2311.03099",
	.summary = "dare_linear, by majority of signs",
	.formula = "as dare_linear; elements against the sign of the weighted "
		   "sum left "
		   "out",
	.base = BASE_REQUIRED,
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	TASK_CHANCE,
};
