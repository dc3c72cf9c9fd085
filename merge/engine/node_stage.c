/* Leaves that are the tensors of a stage. */
#include <errno.h>
#include <stdlib.h>

#include "merge/engine/node_private.h"

struct staged_node {
	struct node node;
	struct node *values; /* borrowed from the same set */
	const struct dtype *kept;
};

static const struct staged_node *as_staged(const struct node *node)
{
	return CONTAINER_OF(node, const struct staged_node, node);
}

static int staged_fetch(const struct node *node, const struct eval *eval,
			uint64_t first, uint64_t n, void *data)
{
	return eval->fetch(eval->arg, node, first, n, data);
}

static int staged_eval(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	return node_eval_leaf(node, as_staged(node)->kept, staged_fetch, eval,
			      first, n, out);
}

/* Blocks ask their sources when they are computed; a block that is kept says
 * what the sources said when they were what they are named as. */
static int staged_check(const struct node *node UNUSED)
{
	return 0;
}

static void staged_free(struct node *node)
{
	free(CONTAINER_OF(node, struct staged_node, node));
}

static const struct node_type staged_type = {
	.name = "stage",
	.eval = staged_eval,
	.check = staged_check,
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
		struct node **ret)
{
	struct staged_node *staged = calloc(1, sizeof(*staged));
	if (!staged)
		return -ENOMEM;

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
	int r = staged_digest(staged);
	if (r < 0) {
		free(staged);
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
