/*
 * Expressions: what each output tensor is, as a tree of nodes.
 *
 * A node is a pure function from an element range to f32 values. Leaves are
 * stored tensors; inner nodes compute. Nodes are immutable, shared where equal,
 * and owned by a plan. Two things may be asked of a node:
 *
 *   eval  elements [first, first + n), any range, on any thread;
 *   scan  a pass over the whole tensor for *facts* (whole-tensor scalars such
 *         as dot products), after which eval can be asked. facts.h does the
 *         passes; facts are small plain bytes and are cached.
 *
 * A node that needs whole rows of its inputs has a unit of some rows; what a
 * thread has computed of it stays with the thread until it asks for another.
 */
#ifndef MERGE_ENGINE_NODE_H
#define MERGE_ENGINE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "merge/tensor/dtype.h"
#include "merge/tensor/shape.h"
#include "util/hash.h"
#include "util/macros.h"

struct cJSON;
struct describing;
struct error;
struct file;
struct marks;
struct node;
struct row_map;
struct tensor;

/* Bytes of a leaf that a thread has read, or looks at. */
struct window {
	const struct node *leaf; /* NULL: empty */
	uint64_t first, n;	 /* elements */
	const unsigned char *bytes;
	unsigned char *room; /* (eval.room_size,) */
	/* What it looks at: [offset, offset + size) of file; NULL: nothing. */
	const struct file *file;
	uint64_t offset;
	size_t size;
};

/* The unit of a node by rows that a thread has computed. */
struct row_window {
	const struct node *node; /* NULL: empty */
	uint64_t first, n;	 /* elements */
	float *data;		 /* (plan.row_room,) */
};

/*
 * What one thread needs to evaluate. Every leaf of an expression has a window
 * of its own, in the order in which evaluation comes to the leaves, so that
 * sources are read in larger pieces than tiles.
 */
struct eval {
	const struct isa *isa;
	float *scratch;		 /* room for the tiles of nodes further down */
	struct window *windows;	 /* of the leaves yet to come */
	struct row_window *rows; /* of the nodes by rows yet to come */
	unsigned n_windows, n_rows; /* of all */
	size_t look_size; /* bytes of a file to look at; 0: it is read */
	size_t room_size; /* bytes of a window's room, at least a tile of any
			     dtype */
	uint64_t wanted;  /* elements that will be asked for from the first on,
			     at least those that are */
	atomic_uint_fast64_t *n_read; /* bytes of inputs looked at or read */
	struct marks *marks;	      /* of blends; NULL: they do without */

	/* Brings elements [first, first + n) of a stage's tensor, as kept. */
	int (*fetch)(void *arg, const struct node *staged, uint64_t first,
		     uint64_t n, void *data);
	void *arg; /* of fetch */
};

struct node_type {
	const char *name;

	/* Any elements, at most a tile. */
	int (*eval)(const struct node *node, struct eval *eval, uint64_t first,
		    size_t n, float *out);

	/* Optional, of leaves: the same, as they are stored as the node's
	 * dtype; *ret holds until the thread evaluates again. */
	int (*peek)(const struct node *node, struct eval *eval, uint64_t first,
		    size_t n, const unsigned char **ret);

	/* Facts, as in method.h; all NULL without; reach and begin are
	 * optional, begin is told the size of the part. scan evaluates the
	 * inputs for one unit, of which scan->first and scan->n tell. */
	size_t (*facts_size)(const struct node *node);
	struct method_sizes (*sizes)(const struct node *node, unsigned pass);
	void (*begin)(const struct node *node, void *part, size_t size,
		      unsigned pass);
	int (*scan)(const struct node *node, struct eval *eval,
		    struct method_scan *scan);
	size_t (*reach)(const struct node *node,
			const struct method_scan *scan);
	void (*fold)(const struct node *node, void *sum, const void *part,
		     unsigned pass, const void *facts);
	unsigned (*settle)(const struct node *node, unsigned pass, void *facts,
			   const void *sum);

	/* Leaves only; for inner nodes the inputs are asked: 0 if the source is
	 * still what it was. */
	int (*check)(const struct node *node);

	/* Optional: adds to `row`, which names the type and has the inputs by
	 * then, see describe.h. False if out of memory. */
	bool (*describe)(const struct node *node, const struct describing *how,
			 struct cJSON *row);

	void (*free)(struct node *node);
};

struct facts; /* facts.h */

struct node {
	const struct node_type *type;
	const struct dtype
		*dtype; /* what the values are stored as by default */
	struct shape shape;
	uint64_t count;	      /* elements */
	uint64_t unit;	      /* elements that are scanned at once */
	struct digest digest; /* of the expression and all it depends on */
	unsigned n_inputs;
	struct node **inputs; /* (n_inputs,) borrowed from the plan */
	size_t scratch;	   /* floats that eval and scan use, inputs included */
	unsigned n_leaves; /* leaves below, repeated ones included */
	unsigned n_rows;   /* nodes by rows, this one included */
	size_t row_room;   /* the largest unit of those, or 0 */
	struct facts *facts; /* owned; NULL for nodes without */
};

/* Leaf: the values of a stored tensor. tensor is borrowed. */
int node_stored(const struct tensor *tensor, struct node **ret);

/* Whose tensor it is, for people. */
struct staged_name {
	const char *stage, *tensor;
};

/*
 * Leaf: the tensor of a stage. Its values are those of the expression below it,
 * rounded to dtype unless fused, and it is of this dtype to whoever merges it.
 * They are computed in blocks that are kept in memory like bytes of a file, so
 * that a stage which is scanned, blended, or used in many places is computed
 * once. values is borrowed, of the same set; a mergeable dtype; the name is
 * copied.
 */
int node_staged(struct node *values, const struct dtype *dtype, bool fused,
		const struct staged_name *name, struct node **ret);

/* What a stage's tensor is made of and kept as, or NULL for other nodes. */
struct node *node_staged_values(const struct node *node,
				const struct dtype **ret_kept);

/*
 * A method applied to inputs of one shape. values: (n_params, n_inputs) as in
 * method_args, copied. base: index of the base among the inputs or -1. streams:
 * (n_inputs,) for a random method, copied.
 */
struct merge_terms {
	const struct method *method;
	struct node *const *inputs;
	unsigned n_inputs;
	int base;
	const double *values;
	const struct method_stream *streams;
};
int node_merge(const struct merge_terms *terms, struct node **ret);

/*
 * Rows of other nodes, as the map (borrowed) says: inputs are the map's. shape
 * is that of an input, of which all but the first dimension is kept; its rows
 * must be within the 32 bits of the map.
 */
int node_gather(const struct row_map *map, struct node *const *inputs,
		const struct shape *shape, const struct dtype *dtype,
		struct node **ret);

/* The map of a gather node, or NULL. */
const struct row_map *node_rows(const struct node *node);
void node_free(struct node *node);
DEFINE_AUTO(node, node_free);

/* Do the parameters of a merge make sense? A clause for people if not. */
int node_check_terms(const struct node *node, struct error *err);

/* Method and arguments of a merge, or NULL. */
const struct method *node_method(const struct node *node,
				 const struct method_args **ret_args);

/*
 * Was a file torn that this thread, which begins with `fresh`, has looked at?
 * Then what it has made since must be made once more: the file is read from
 * now on.
 */
bool eval_torn(const struct eval *fresh);

/* Asks every leaf below; -ESTALE when a source has changed. */
int node_check(const struct node *node);

/* The stored tensor whose bytes are the node's values as dtype, or NULL. */
const struct tensor *node_copies(const struct node *node,
				 const struct dtype *dtype);

/*
 * A node of the same values as dtype: what a tensor of a stage that is passed
 * on unchanged is made of, else the node itself.
 */
struct node *node_origin(struct node *node, const struct dtype *dtype);

#endif
