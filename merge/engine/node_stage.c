/* Leaves that are the tensors of a stage. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/describe.h"
#include "merge/engine/node_private.h"
#include "util/range.h"

struct staged_node {
	struct node node;
	struct node *values; /* borrowed from the same set */
	const struct dtype *kept;
	char *stage, *tensor; /* owned; the first that is made so */
};

static const struct staged_node *as_staged(const struct node *node)
{
	return CONTAINER_OF(node, const struct staged_node, node);
}

static int staged_bring(const struct node *node, const struct eval *eval,
			struct window *window)
{
	uint64_t width = as_staged(node)->kept->bits / 8;

	window->n = min_u64(window->n, eval->room_size / width);
	window->bytes = window->room;
	return eval->fetch(eval->arg, node, window->first, window->n,
			   window->room);
}

static int staged_eval(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	return node_eval_leaf(node, as_staged(node)->kept, staged_bring, eval,
			      first, n, out);
}

/* Blocks ask their sources when they are computed; a block that is kept says
 * what the sources said when they were what they are named as. */
static int staged_check(const struct node *node UNUSED)
{
	return 0;
}

/* In full as often as there is room for, as graphs may be of any size. */
static bool describe_values(const struct staged_node *staged,
			    const struct describing *how, cJSON *row)
{
	if (!how->n_stages || *how->n_stages == 0)
		return true;

	--*how->n_stages;
	cJSON *list = cJSON_AddArrayToObject(row, "inputs");
	return list && describe_input(list, staged->values, how);
}

static bool staged_describe(const struct node *node,
			    const struct describing *how, cJSON *row)
{
	const struct staged_node *staged = as_staged(node);
	char kept[32];
	snprintf(kept, sizeof(kept), "%s %s",
		 staged->kept == node->dtype ? "rounded to" : "kept in",
		 staged->kept->name);

	if (!cJSON_AddStringToObject(row, "model", staged->stage) ||
	    !cJSON_AddStringToObject(row, "stage", kept))
		return false;
	if (how->brief)
		return describe_layer(staged->tensor, how, row);
	return cJSON_AddStringToObject(row, "tensor", staged->tensor) &&
	       describe_values(staged, how, row);
}

static void staged_free(struct node *node)
{
	struct staged_node *staged =
		CONTAINER_OF(node, struct staged_node, node);

	free(staged->stage);
	free(staged->tensor);
	free(staged);
}

static const struct node_type staged_type = {
	.name = "stage",
	.eval = staged_eval,
	.check = staged_check,
	.describe = staged_describe,
	.free = staged_free,
};

static int staged_digest(struct staged_node *staged)
{
	struct hasher *hasher = hasher_new(ENGINE_VERSION);
	if (!hasher)
		return -ENOMEM;

	hasher_string(hasher, staged_type.name);
	hasher_digest(hasher, staged->values->digest);
	hasher_string(hasher, staged->kept->name);
	hasher_string(hasher, staged->node.dtype->name);
	staged->node.digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

int node_staged(struct node *values, const struct dtype *dtype, bool fused,
		const struct staged_name *name, struct node **ret)
{
	struct staged_node *staged = calloc(1, sizeof(*staged));
	if (!staged)
		return -ENOMEM;

	staged->stage = strdup(name->stage);
	staged->tensor = strdup(name->tensor);
	staged->values = values;
	staged->kept = fused ? dtype_of(DTYPE_F32) : dtype;
	staged->node = (struct node){
		.type = &staged_type,
		.dtype = dtype,
		.shape = values->shape,
		.count = values->count,
		.unit = TILE,
		.n_leaves = 1,
	};
	int r = staged->stage && staged->tensor ? staged_digest(staged)
						: -ENOMEM;
	if (r < 0) {
		staged_free(&staged->node);
		return r;
	}
	*ret = &staged->node;
	return 0;
}

struct node *node_staged_values(const struct node *node,
				const struct dtype **ret_kept)
{
	if (node->type != &staged_type)
		return NULL;
	*ret_kept = as_staged(node)->kept;
	return as_staged(node)->values;
}
