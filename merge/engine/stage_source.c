#include "merge/engine/stage_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/engine/shelf.h"
#include "merge/output/config.h"
#include "merge/output/files.h"
#include "merge/source/source.h"
#include "util/json.h"

static int compare_tensors(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int copy_tensors(const struct plan *plan, struct source *source)
{
	source->tensors = calloc(plan->n_tensors + 1, sizeof(*source->tensors));
	if (!source->tensors)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_tensors; i++) {
		const struct output_tensor *output = &plan->tensors[i];
		struct tensor *tensor = &source->tensors[i];
		*tensor = (struct tensor){
			.name = strdup(output->name),
			.dtype = output->dtype,
			.shape = output->shape,
			.count = output->node->count,
			.size = output->size,
		};
		if (!tensor->name)
			return -ENOMEM;
		source->n_tensors++;
	}
	qsort(source->tensors, source->n_tensors, sizeof(*source->tensors),
	      compare_tensors);
	return 0;
}

int stage_source_new(const char *name, struct plan *plan, struct source **ret,
		     struct error *err)
{
	AUTO(source) source = calloc(1, sizeof(*source));
	if (!source)
		return error_set(err, -ENOMEM, "out of memory");
	source->donor = plan->donor;
	source->label = strdup(name);
	source->directory = strdup(name);
	if (!source->label || !source->directory ||
	    copy_tensors(plan, source) < 0)
		return error_set(err, -ENOMEM, "out of memory");

	int r = config_text(plan, &source->config_text, err);
	if (r == 0)
		r = json_parse(source->config_text, strlen(source->config_text),
			       "config.json", &source->config, err);
	if (r == 0 && (plan->vocabulary || plan->chat_template))
		r = files_beside(plan, &source->made, &source->n_made, err);
	if (r < 0)
		return r;
	*ret = TAKE(source);
	return 0;
}

static int stage_tensor(struct plan *plan, const char *stage,
			const struct output_tensor *tensor, bool fused,
			struct node **ret)
{
	struct staged_name name = {stage, tensor->name};
	struct node_set *nodes = &plan->shelf->nodes;
	struct node *node = NULL;

	if (tensor->copy)
		return node_set_stored(nodes, tensor->copy, ret);
	int r = node_staged(tensor->node, tensor->dtype, fused, &name, &node);
	return r < 0 ? r : node_set_add(nodes, node, ret);
}

int stage_nodes_new(struct plan *plan, const struct source *source, bool fused,
		    struct node ***ret)
{
	AUTO_FREE struct node **nodes =
		calloc(plan->n_tensors + 1, sizeof(*nodes));
	if (!nodes)
		return -ENOMEM;
	for (size_t i = 0; i < plan->n_tensors; i++) {
		const struct output_tensor *output = &plan->tensors[i];
		const struct tensor *tensor = source_find(source, output->name);
		int r = stage_tensor(plan, source->label, output, fused,
				     &nodes[tensor - source->tensors]);
		if (r < 0)
			return r;
	}
	*ret = TAKE(nodes);
	return 0;
}
