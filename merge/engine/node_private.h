/* Between node.c and the kinds of nodes in files of their own. */
#ifndef MERGE_ENGINE_NODE_PRIVATE_H
#define MERGE_ENGINE_NODE_PRIVATE_H

#include "merge/engine/node.h"

/* Part of every digest: a change of any number that a node gives changes it. */
#define ENGINE_VERSION "mkfs-mount engine 2"

struct hasher;

void node_hash_shape(struct hasher *hasher, const struct shape *shape);

/* Elements [first, first + n) of a leaf as it is kept. */
typedef int node_fetch_fn(const struct node *leaf, const struct eval *eval,
			  uint64_t first, uint64_t n, void *data);

/* eval of a leaf that is kept as dtype, through the leaf's window. */
int node_eval_leaf(const struct node *leaf, const struct dtype *dtype,
		   node_fetch_fn *fetch, struct eval *eval, uint64_t first,
		   size_t n, float *out);

#endif
