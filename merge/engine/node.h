/*
 * Expressions: what each output tensor is, as a tree of nodes.
 *
 * A node is a pure function from an element range to f32 values. Leaves are
 * stored tensors; inner nodes compute. Nodes are immutable, shared where equal,
 * and owned by a plan. Two things may be asked of a node:
 *
 *   eval  elements [first, first + n), any range, on any thread;
 *   scan  one pass over the whole tensor for *facts* (whole-tensor scalars such
 *         as dot products), after which eval can be asked. engine.h does the
 *         passes; facts are small plain bytes and are cached.
 */
#ifndef MERGE_ENGINE_NODE_H
#define MERGE_ENGINE_NODE_H

#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "merge/tensor/dtype.h"
#include "merge/tensor/shape.h"
#include "util/hash.h"
#include "util/macros.h"

struct node;
struct tensor;

/* Bytes of a stored tensor that a thread has read. */
struct window {
	const struct tensor *tensor; /* NULL: empty */
	uint64_t first, n;	     /* elements */
	unsigned char *data;	     /* (eval.window_size,) */
};

/*
 * What one thread needs to evaluate. Every leaf of an expression has a window
 * of its own, in the order in which evaluation comes to the leaves, so that
 * sources are read in larger pieces than tiles.
 */
struct eval {
	const struct isa *isa;
	float *scratch;		/* room for the tiles of nodes further down */
	struct window *windows; /* of the leaves yet to come */
	size_t window_size;	/* bytes, at least a tile of any dtype */
};

struct node_type {
	const char *name;

	/* Elements, at most a tile, that do not cross a tile boundary. */
	int (*eval)(const struct node *node, struct eval *eval, uint64_t first,
		    size_t n, float *out);

	/* Facts, as in method.h; all NULL without. scan evaluates the inputs
	 * for one tile. */
	unsigned (*n_passes)(const struct node *node);
	size_t (*facts_size)(const struct node *node);
	int (*scan)(const struct node *node, struct eval *eval, unsigned pass,
		    const void *facts, void *part, uint64_t first, size_t n);
	void (*fold)(const struct node *node, unsigned pass, void *facts,
		     const void *part);
	void (*settle)(const struct node *node, unsigned pass, void *facts);

	/* Leaves only; for inner nodes the inputs are asked: 0 if the source is
	 * still what it was. */
	int (*check)(const struct node *node);

	void (*free)(struct node *node);
};

struct facts; /* facts.h */

struct node {
	const struct node_type *type;
	const struct dtype
		*dtype; /* what the values are stored as by default */
	struct shape shape;
	uint64_t count;	      /* elements */
	struct digest digest; /* of the expression and all it depends on */
	unsigned n_inputs;
	struct node **inputs; /* (n_inputs,) borrowed from the plan */
	size_t scratch;	   /* floats that eval and scan use, inputs included */
	unsigned n_leaves; /* stored tensors below, repeated ones included */
	struct facts *facts; /* owned; NULL for nodes without */
};

/* Leaf: the values of a stored tensor. tensor is borrowed. */
int node_stored(const struct tensor *tensor, struct node **ret);

/*
 * A method applied to inputs of one shape. values: (n_params, n_inputs) as in
 * method_args, copied. base: index of the base among the inputs or -1.
 */
int node_merge(const struct method *method, struct node *const *inputs,
	       unsigned n_inputs, int base, const double *values,
	       struct node **ret);
void node_free(struct node *node);
DEFINE_AUTO(node, node_free);

/* Why a merge with such parameters makes no sense: a clause for people, or NULL
 * if it does. */
const char *node_refuses(const struct node *node);

/* Asks every leaf below; -ESTALE when a source has changed. */
int node_check(const struct node *node);

/* The stored tensor whose bytes are the node's values as dtype, or NULL. */
const struct tensor *node_copies(const struct node *node,
				 const struct dtype *dtype);

#endif
