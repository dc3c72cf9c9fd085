#include "merge/engine/node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/facts.h"
#include "merge/source/file.h"
#include "merge/source/tensor.h"
#include "util/range.h"

/* Part of every digest: a change of any number that a node gives changes it. */
#define ENGINE_VERSION "mkfs-mount engine 1"

struct stored_node {
	struct node node;
	const struct tensor *tensor;
};

struct merge_node {
	struct node node;
	const struct method *method;
	size_t place; /* in every instruction set's table of methods */
	struct method_args args;
	double *values;	      /* (n_params, n_inputs) owned */
	struct node **inputs; /* (n_inputs,) owned array */
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

/* Reads from `first` on as much of the tensor as a window holds. */
static int fill_window(const struct tensor *tensor, uint64_t first, size_t size,
		       struct window *window)
{
	uint64_t width = tensor->dtype->bits / 8;
	uint64_t n = min_u64(size / width, tensor->count - first);

	window->tensor = NULL;
	int r = file_fetch(tensor->file, tensor->offset + first * width,
			   n * width, window->data);
	if (r < 0)
		return r;
	window->tensor = tensor;
	window->first = first;
	window->n = n;
	return 0;
}

static int stored_eval(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	const struct tensor *tensor = as_stored(node)->tensor;
	struct window *window = eval->windows++;

	if (window->tensor != tensor || first < window->first ||
	    first + n > window->first + window->n) {
		int r = fill_window(tensor, first, eval->window_size, window);
		if (r < 0)
			return r;
	}
	uint64_t at = (first - window->first) * (tensor->dtype->bits / 8);
	eval->isa->load[tensor->dtype->code](out, window->data + at, n);
	return 0;
}

static int stored_check(const struct node *node)
{
	return file_check(as_stored(node)->tensor->file);
}

static void stored_free(struct node *node)
{
	free(CONTAINER_OF(node, struct stored_node, node));
}

static const struct node_type stored_type = {
	.name = "stored",
	.eval = stored_eval,
	.check = stored_check,
	.free = stored_free,
};

static void hash_shape(struct hasher *hasher, const struct shape *shape)
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
	hash_shape(hasher, &tensor->shape);
	stored->node = (struct node){
		.type = &stored_type,
		.dtype = tensor->dtype,
		.shape = tensor->shape,
		.count = tensor->count,
		.digest = hasher_finish(hasher),
		.n_leaves = 1,
	};
	hasher_free(hasher);
	stored->tensor = tensor;
	*ret = &stored->node;
	return 0;
}

/* Merges. */

static const struct merge_node *as_merge(const struct node *node)
{
	return CONTAINER_OF(node, const struct merge_node, node);
}

static const struct method *compiled_for(const struct merge_node *merge,
					 const struct isa *isa)
{
	return isa->methods[merge->place];
}

/* Floats that the row of input pointers takes at the head of the scratch. */
static size_t pointer_room(unsigned n_inputs)
{
	return round_up(n_inputs * sizeof(float *), 64) / sizeof(float);
}

/* Evaluates all inputs into scratch tiles; *ret points at them. */
static int eval_inputs(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, const float *const **ret)
{
	const float **in = (const float **)(void *)eval->scratch;
	float *tile = eval->scratch + pointer_room(node->n_inputs);
	struct eval below = *eval;
	below.scratch = tile + (size_t)node->n_inputs * TILE;

	for (unsigned i = 0; i < node->n_inputs; i++, tile += TILE) {
		const struct node *input = node->inputs[i];
		int r = input->type->eval(input, &below, first, n, tile);
		if (r < 0)
			return r;
		in[i] = tile;
	}
	eval->windows = below.windows;
	*ret = in;
	return 0;
}

static int merge_eval(const struct node *node, struct eval *eval,
		      uint64_t first, size_t n, float *out)
{
	const struct merge_node *merge = as_merge(node);
	const float *const *in = NULL;

	int r = eval_inputs(node, eval, first, n, &in);
	if (r < 0)
		return r;
	const struct method *method = compiled_for(merge, eval->isa);
	method->blend(out, in, first, n, &merge->args,
		      node->facts ? facts_data(node->facts) : NULL);
	return 0;
}

static unsigned merge_passes(const struct node *node)
{
	return as_merge(node)->method->n_passes;
}

static size_t merge_facts_size(const struct node *node)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->facts_size(&merge->args);
}

static int merge_scan(const struct node *node, struct eval *eval, unsigned pass,
		      const void *facts, void *part, uint64_t first, size_t n)
{
	const struct merge_node *merge = as_merge(node);
	const float *const *in = NULL;

	int r = eval_inputs(node, eval, first, n, &in);
	if (r < 0)
		return r;
	const struct method *method = compiled_for(merge, eval->isa);
	method->scan(part, pass, facts, in, first, n, &merge->args);
	return 0;
}

static void merge_fold(const struct node *node, unsigned pass, void *facts,
		       const void *part)
{
	const struct merge_node *merge = as_merge(node);

	merge->method->fold(facts, pass, part, &merge->args);
}

static void merge_settle(const struct node *node, unsigned pass, void *facts)
{
	const struct merge_node *merge = as_merge(node);

	if (merge->method->settle)
		merge->method->settle(facts, pass, &merge->args);
}

static void merge_free(struct node *node)
{
	struct merge_node *merge = CONTAINER_OF(node, struct merge_node, node);

	free(merge->values);
	free(merge->inputs);
	free(merge);
}

static const struct node_type merge_type = {
	.name = "merge",
	.eval = merge_eval,
	.free = merge_free,
};

static const struct node_type merge_with_facts_type = {
	.name = "merge",
	.eval = merge_eval,
	.n_passes = merge_passes,
	.facts_size = merge_facts_size,
	.scan = merge_scan,
	.fold = merge_fold,
	.settle = merge_settle,
	.free = merge_free,
};

static size_t param_count(const struct method *method)
{
	size_t n = 0;

	while (method->params[n].name)
		n++;
	return n;
}

static int merge_digest(struct merge_node *merge, size_t n_values)
{
	struct hasher *hasher = hasher_new(ENGINE_VERSION);
	if (!hasher)
		return -ENOMEM;

	struct node *node = &merge->node;
	hasher_string(hasher, merge_type.name);
	hasher_string(hasher, merge->method->name);
	hasher_u64(hasher, (uint64_t)(merge->args.base + 1));
	hasher_u64(hasher, node->n_inputs);
	for (unsigned i = 0; i < node->n_inputs; i++)
		hasher_digest(hasher, node->inputs[i]->digest);
	for (size_t i = 0; i < n_values; i++)
		hasher_f64(hasher, merge->values[i]);
	hash_shape(hasher, &node->shape);
	node->digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

static void merge_init(struct merge_node *merge, const struct method *method,
		       struct node *const *inputs, unsigned n_inputs, int base)
{
	struct node *node = &merge->node;

	memcpy(merge->inputs, inputs, n_inputs * sizeof(*inputs));
	node->type = method->n_passes ? &merge_with_facts_type : &merge_type;
	node->dtype = inputs[0]->dtype;
	node->shape = inputs[0]->shape;
	node->count = inputs[0]->count;
	node->n_inputs = n_inputs;
	node->inputs = merge->inputs;
	for (unsigned i = 0; i < n_inputs; i++) {
		node->dtype = dtype_promote(node->dtype, inputs[i]->dtype);
		node->n_leaves += inputs[i]->n_leaves;
		if (inputs[i]->scratch > node->scratch)
			node->scratch = inputs[i]->scratch;
	}
	node->scratch += pointer_room(n_inputs) + (size_t)n_inputs * TILE;

	merge->method = method;
	while (method_all()[merge->place] != method)
		merge->place++;
	merge->args = (struct method_args){
		.n_inputs = n_inputs,
		.base = base,
		.values = merge->values,
		.count = node->count,
		.row = node->shape.rank ? node->shape.dims[node->shape.rank - 1]
					: 1,
	};
}

int node_merge(const struct method *method, struct node *const *inputs,
	       unsigned n_inputs, int base, const double *values,
	       struct node **ret)
{
	size_t n_values = param_count(method) * n_inputs;
	struct merge_node *merge = calloc(1, sizeof(*merge));
	if (!merge)
		return -ENOMEM;
	merge->node.type = &merge_type;
	AUTO(node) node = &merge->node;

	merge->inputs = calloc(n_inputs, sizeof(*inputs));
	merge->values = calloc(n_values + 1, sizeof(*values));
	if (!merge->inputs || !merge->values)
		return -ENOMEM;
	if (n_values > 0)
		memcpy(merge->values, values, n_values * sizeof(*values));
	merge_init(merge, method, inputs, n_inputs, base);

	int r = merge_digest(merge, n_values);
	if (r < 0)
		return r;
	if (method->n_passes > 0) {
		r = facts_new(method->facts_size(&merge->args), &node->facts);
		if (r < 0)
			return r;
	}
	*ret = TAKE(node);
	return 0;
}

const char *node_refuses(const struct node *node)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->refuses ? merge->method->refuses(&merge->args)
				      : NULL;
}

const struct tensor *node_copies(const struct node *node,
				 const struct dtype *dtype)
{
	if (node->type == &stored_type)
		return node->dtype == dtype ? as_stored(node)->tensor : NULL;
	if (node->type != &merge_type && node->type != &merge_with_facts_type)
		return NULL;

	const struct merge_node *merge = as_merge(node);
	if (!merge->method->copies)
		return NULL;
	int input = merge->method->copies(&merge->args);
	return input < 0 ? NULL : node_copies(node->inputs[input], dtype);
}
