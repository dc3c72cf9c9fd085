#include "merge/engine/node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/engine/describe.h"
#include "merge/engine/facts.h"
#include "merge/engine/node_private.h"
#include "merge/engine/plan.h"
#include "merge/kernels/half.h"
#include "merge/source/file.h"
#include "merge/source/tensor.h"
#include "util/range.h"

/* Bytes before they are read that they are asked for: a processor's own guesses
 * end with every page, and a row that is worked on for long makes it forget. */
#define AHEAD 4096

struct stored_node {
	struct node node;
	const struct tensor *tensor;
};

void node_free(struct node *node)
{
	if (!node)
		return;
	facts_free(node->facts);
	node->type->free(node);
}

int node_check(const struct node *node)
{
	if (node->type->check)
		return node->type->check(node);

	for (unsigned i = 0; i < node->n_inputs; i++) {
		int r = node_check(node->inputs[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Stored tensors. */

static const struct stored_node *as_stored(const struct node *node)
{
	return CONTAINER_OF(node, const struct stored_node, node);
}

static void empty_window(struct window *window)
{
	if (window->file)
		file_let_go(window->file, window->offset, window->size);
	window->file = NULL;
	window->leaf = NULL;
}

static int fill_window(const struct node *leaf, node_bring_fn *bring,
		       const struct eval *eval, uint64_t first,
		       struct window *window)
{
	empty_window(window);
	window->first = first;
	window->n = min_u64(eval->wanted, leaf->count - first);
	int r = bring(leaf, eval, window);
	if (r == 0)
		window->leaf = leaf;
	return r;
}

/* Elements of a leaf as they are kept, in its window. */
static int find_bytes(const struct node *leaf, const struct dtype *dtype,
		      node_bring_fn *bring, struct eval *eval, uint64_t first,
		      size_t n, const unsigned char **ret)
{
	struct window *window = eval->windows++;

	if (window->leaf != leaf || first < window->first ||
	    first + n > window->first + window->n) {
		int r = fill_window(leaf, bring, eval, first, window);
		if (r < 0)
			return r;
	}
	*ret = window->bytes + (first - window->first) * (dtype->bits / 8);
	return 0;
}

int node_eval_leaf(const struct node *leaf, const struct dtype *dtype,
		   node_bring_fn *bring, struct eval *eval, uint64_t first,
		   size_t n, float *out)
{
	const unsigned char *bytes = NULL;

	int r = find_bytes(leaf, dtype, bring, eval, first, n, &bytes);
	if (r < 0)
		return r;
	bring_near(bytes + AHEAD, n * (dtype->bits / 8));
	eval->isa->load[dtype->code](out, bytes, n);
	return 0;
}

bool eval_torn(const struct eval *fresh)
{
	bool torn = false;

	for (unsigned i = 0; i < fresh->n_windows; i++) {
		struct window *window = &fresh->windows[i];
		if (!window->file || !file_torn(window->file))
			continue;
		empty_window(window);
		torn = true;
	}
	for (unsigned i = 0; torn && i < fresh->n_rows; i++)
		fresh->rows[i].node = NULL;
	return torn;
}

/* Looks at the tensor's elements in its file, if it may. */
static bool look(const struct tensor *tensor, const struct eval *eval,
		 struct window *window)
{
	uint64_t width = tensor->dtype->bits / 8;
	uint64_t n = min_u64(window->n, eval->look_size / width);
	uint64_t offset = tensor->offset + window->first * width;
	if (n == 0)
		return false;

	window->bytes = file_look(tensor->file, offset, n * width);
	if (!window->bytes)
		return false;
	window->n = n;
	window->file = tensor->file;
	window->offset = offset;
	window->size = n * width;
	return true;
}

static int stored_bring(const struct node *node, const struct eval *eval,
			struct window *window)
{
	const struct tensor *tensor = as_stored(node)->tensor;
	uint64_t width = tensor->dtype->bits / 8;
	int r = 0;

	if (!look(tensor, eval, window)) {
		window->n = min_u64(window->n, eval->room_size / width);
		window->bytes = window->room;
		r = file_fetch(tensor->file,
			       tensor->offset + window->first * width,
			       window->n * width, window->room);
	}
	atomic_fetch_add(eval->n_read, window->n * width);
	return r;
}

static int stored_eval(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	return node_eval_leaf(node, node->dtype, stored_bring, eval, first, n,
			      out);
}

static int stored_peek(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, const unsigned char **ret)
{
	return find_bytes(node, node->dtype, stored_bring, eval, first, n, ret);
}

static int stored_check(const struct node *node)
{
	return file_check(as_stored(node)->tensor->file);
}

static bool stored_describe(const struct node *node,
			    const struct describing *how, cJSON *row)
{
	const struct tensor *tensor = as_stored(node)->tensor;
	const char *model = describe_model(tensor, how);

	if (model && !cJSON_AddStringToObject(row, "model", model))
		return false;
	if (how->brief)
		return describe_layer(tensor->name, how, row);
	return cJSON_AddStringToObject(row, "tensor", tensor->name) &&
	       cJSON_AddStringToObject(row, "dtype", tensor->dtype->name) &&
	       cJSON_AddStringToObject(row, "file", tensor->file->path) &&
	       cJSON_AddNumberToObject(row, "offset", (double)tensor->offset);
}

static void stored_free(struct node *node)
{
	free(CONTAINER_OF(node, struct stored_node, node));
}

static const struct node_type stored_type = {
	.name = "stored",
	.eval = stored_eval,
	.peek = stored_peek,
	.check = stored_check,
	.describe = stored_describe,
	.free = stored_free,
};

void node_hash_shape(struct hasher *hasher, const struct shape *shape)
{
	hasher_u64(hasher, shape->rank);
	for (unsigned i = 0; i < shape->rank; i++)
		hasher_u64(hasher, shape->dims[i]);
}

int node_stored(const struct tensor *tensor, struct node **ret)
{
	struct hasher *hasher = hasher_new(ENGINE_VERSION);
	struct stored_node *stored = calloc(1, sizeof(*stored));
	if (!hasher || !stored) {
		hasher_free(hasher);
		free(stored);
		return -ENOMEM;
	}

	hasher_string(hasher, stored_type.name);
	hasher_digest(hasher, tensor->file->identity);
	hasher_u64(hasher, tensor->offset);
	hasher_string(hasher, tensor->dtype->name);
	node_hash_shape(hasher, &tensor->shape);
	stored->node = (struct node){
		.type = &stored_type,
		.dtype = tensor->dtype,
		.shape = tensor->shape,
		.count = tensor->count,
		.unit = TILE,
		.digest = hasher_finish(hasher),
		.n_leaves = 1,
	};
	hasher_free(hasher);
	stored->tensor = tensor;
	*ret = &stored->node;
	return 0;
}

/* The input whose values are the node's, or NULL. */
static struct node *passed_on(const struct node *node)
{
	const struct method_args *args = NULL;
	const struct method *method = node_method(node, &args);
	if (!method || !method->copies)
		return NULL;

	int input = method->copies(args);
	return input < 0 ? NULL : node->inputs[input];
}

const struct tensor *node_copies(const struct node *node,
				 const struct dtype *dtype)
{
	if (node->type == &stored_type)
		return node->dtype == dtype ? as_stored(node)->tensor : NULL;

	const struct node *input = passed_on(node);
	return input ? node_copies(input, dtype) : NULL;
}

struct node *node_origin(struct node *node, const struct dtype *dtype)
{
	struct node *end = node;
	for (struct node *next = node; next; next = passed_on(next))
		end = next;

	const struct dtype *kept = NULL;
	struct node *values = node_staged_values(end, &kept);
	return values && kept == dtype ? values : node;
}
