/* Between node.c and the kinds of nodes in files of their own. */
#ifndef MERGE_ENGINE_NODE_PRIVATE_H
#define MERGE_ENGINE_NODE_PRIVATE_H

#include "merge/engine/node.h"

/* Part of every digest: a change of any number that a node gives changes it. */
#define ENGINE_VERSION "mkfs-mount engine 12"

struct hasher;

void node_hash_shape(struct hasher *hasher, const struct shape *shape);

/* Brings elements of a leaf as it is kept, from window->first on, window->n at
 * most, into the window's room or sight. */
typedef int node_bring_fn(const struct node *leaf, const struct eval *eval,
			  struct window *window);

/* eval of a leaf that is kept as dtype, through the leaf's window. */
int node_eval_leaf(const struct node *leaf, const struct dtype *dtype,
		   node_bring_fn *bring, struct eval *eval, uint64_t first,
		   size_t n, float *out);

/* Elements [first, first + n) of a node, tile by tile; n may be more than a
 * tile. What `eval` leaves to further nodes stays as it is. */
int node_eval_range(const struct node *node, const struct eval *eval,
		    uint64_t first, size_t n, float *out);

/* The same, leaving `eval` to the next node. */
int node_eval_next(const struct node *node, struct eval *eval, uint64_t first,
		   size_t n, float *out);

/* Elements of one unit of a node, with `eval` behind its own row window. */
typedef int node_unit_fn(const struct node *node, const struct eval *eval,
			 uint64_t first, uint64_t n, float *out);

/*
 * eval of a node that is computed by units, through its row window: from what
 * is asked for on, as much as is wanted, at most a unit; whole grains.
 */
int node_eval_units(const struct node *node, struct eval *eval, uint64_t first,
		    size_t n, float *out, uint64_t grain,
		    node_unit_fn *compute);

#endif
