#include "merge/engine/describe.h"

#include <stdio.h>

#include "merge/arch/arch.h"
#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/source/source.h"

bool describe_input(cJSON *list, const struct node *input,
		    const struct describing *how)
{
	cJSON *row = json_append_object(list);
	cJSON *expression = row ? describe_node(input, how) : NULL;

	if (cJSON_AddItemToObject(row, "expression", expression))
		return true;
	cJSON_Delete(expression);
	return false;
}

static bool add_inputs(cJSON *row, const struct node *node,
		       const struct describing *how)
{
	if (node->n_inputs == 0)
		return true;

	cJSON *list = cJSON_AddArrayToObject(row, "inputs");
	bool ok = list;
	for (unsigned i = 0; ok && i < node->n_inputs; i++)
		ok = describe_input(list, node->inputs[i], how);
	return ok;
}

cJSON *describe_node(const struct node *node, const struct describing *how)
{
	AUTO(cJSON) row = cJSON_CreateObject();
	if (!row)
		return NULL;

	bool ok = cJSON_AddStringToObject(row, "node", node->type->name) &&
		  add_inputs(row, node, how);
	if (ok && node->type->describe)
		ok = node->type->describe(node, how, row);
	return ok ? TAKE(row) : NULL;
}

bool describe_layer(const char *name, const struct describing *how, cJSON *row)
{
	uint64_t from, to;
	const char *rest;
	size_t prefix;
	if (!arch_split(name, &prefix, &from, &rest) ||
	    !arch_split(how->tensor->name, &prefix, &to, &rest) || from == to)
		return true;

	char layer[32];
	snprintf(layer, sizeof(layer), "N%+lld", (long long)(from - to));
	return cJSON_AddStringToObject(row, "layer", layer);
}

const char *describe_model(const struct tensor *tensor,
			   const struct describing *how)
{
	for (size_t i = 0; i < how->plan->n_sources; i++) {
		const struct source *source = how->plan->sources[i];

		if (tensor >= source->tensors &&
		    tensor < source->tensors + source->n_tensors)
			return source->label;
	}
	return NULL;
}
