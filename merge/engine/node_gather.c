/*
 * Nodes whose rows are rows of their inputs, in another order, with rows of
 * zeros, means and padding between them. Nothing is built: any range is found
 * in the map, run by run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/describe.h"
#include "merge/engine/facts.h"
#include "merge/engine/node_private.h"
#include "merge/engine/row_map.h"
#include "util/range.h"

struct gather_node {
	struct node node;
	const struct row_map *map; /* borrowed from the plan */
	uint64_t stride;	   /* elements of a row */
	struct node **inputs;	   /* (n_inputs,) owned array */
};

static const struct gather_node *as_gather(const struct node *node)
{
	return CONTAINER_OF(node, const struct gather_node, node);
}

/*
 * Elements of one input. All inputs share the windows of the thread, as most
 * rows in a stretch are of one; what comes behind the run is not wanted.
 */
static int eval_input(const struct gather_node *gather, unsigned i,
		      const struct eval *fresh, uint64_t first, size_t n,
		      uint64_t n_wanted, float *out)
{
	const struct node *input = gather->inputs[i];
	struct eval eval = *fresh;

	eval.wanted = n_wanted;
	return input->type->eval(input, &eval, first, n, out);
}

static int eval_mean(const struct gather_node *gather, const struct eval *eval,
		     uint32_t mean, uint64_t column, size_t n, float *out)
{
	const struct row_map *map = gather->map;
	uint32_t first = map->means[mean], end = map->means[mean + 1];
	float *row = eval->scratch;
	struct eval below = *eval;
	below.scratch += TILE;

	memset(out, 0, n * sizeof(*out));
	for (uint32_t i = first; i < end; i++) {
		const struct row_term *term = &map->terms[i];
		int r = eval_input(gather, term->input, &below,
				   term->row * gather->stride + column, n, n,
				   row);
		if (r < 0)
			return r;
		for (size_t j = 0; j < n; j++)
			out[j] += row[j];
	}
	for (size_t j = 0; j < n; j++)
		out[j] /= (float)(end - first);
	return 0;
}

static void eval_padding(const struct gather_node *gather, uint64_t column,
			 size_t n, float *out)
{
	const float *mean = facts_data(gather->node.facts);

	for (size_t i = 0; i < n; i++) {
		out[i] = mean[column];
		column = column + 1 == gather->stride ? 0 : column + 1;
	}
}

/* Elements of one run, at most `most`, from (row, column) on; *ret how many. */
static int eval_run(const struct gather_node *gather, const struct eval *eval,
		    uint32_t row, uint64_t column, size_t most, float *out,
		    size_t *ret)
{
	uint32_t end;
	const struct row_run *run = row_map_find(gather->map, row, &end);
	uint64_t stride = gather->stride;
	uint64_t left = (end - row) * stride - column;
	uint32_t at = run->row + (row - run->first);
	struct eval below = *eval;
	below.scratch += TILE;

	if (run->input == ROWS_MEAN)
		left = stride - column;
	left = min_u64(left, eval->wanted);
	size_t n = min_u64(most, left);
	*ret = n;
	switch (run->input) {
	case ROWS_ZERO:
		memset(out, 0, n * sizeof(*out));
		return 0;
	case ROWS_MEAN:
		return eval_mean(gather, eval, at, column, n, out);
	case ROWS_PADDING:
		eval_padding(gather, column, n, out);
		return 0;
	default:
		return eval_input(gather, run->input, &below,
				  at * stride + column, n, left, out);
	}
}

static int gather_values(const struct node *node, const struct eval *fresh,
			 uint64_t first, size_t n, float *out)
{
	const struct gather_node *gather = as_gather(node);
	struct eval eval = *fresh;

	while (n > 0) {
		size_t done = 0;
		int r = eval_run(gather, &eval,
				 (uint32_t)(first / gather->stride),
				 first % gather->stride, n, out, &done);
		if (r < 0)
			return r;
		out += done;
		first += done;
		n -= done;
		eval.wanted -= done;
	}
	return 0;
}

static int gather_eval(const struct node *node, struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	int r = gather_values(node, eval, first, n, out);

	eval->windows += node->n_leaves;
	eval->rows += node->n_rows;
	return r;
}

/* The fact of padding: the mean of every column, from sums in f64. */

static size_t gather_facts_size(const struct node *node)
{
	return as_gather(node)->stride * sizeof(float);
}

static struct method_sizes gather_sizes(const struct node *node, unsigned pass)
{
	size_t size = as_gather(node)->stride * sizeof(double);
	(void)pass;

	return (struct method_sizes){.part = size, .sum = size};
}

static int gather_scan(const struct node *node, struct eval *eval,
		       struct method_scan *scan)
{
	const struct gather_node *gather = as_gather(node);
	uint64_t end = gather->map->n_real * gather->stride;
	double *sums = scan->part;
	float *tile = eval->scratch;
	struct eval below = *eval;
	below.scratch += TILE;
	if (scan->first >= end)
		return 0;

	size_t n = min_u64(scan->n, end - scan->first);
	int r = gather_values(node, &below, scan->first, n, tile);
	if (r < 0)
		return r;
	uint64_t column = scan->first % gather->stride;
	for (size_t i = 0; i < n; i++) {
		sums[column] += tile[i];
		column = column + 1 == gather->stride ? 0 : column + 1;
	}
	return 0;
}

static void gather_fold(const struct node *node, void *sum, const void *part,
			unsigned pass, const void *facts)
{
	double *sums = sum;
	const double *parts = part;
	(void)pass;
	(void)facts;

	for (uint64_t i = 0; i < as_gather(node)->stride; i++)
		sums[i] += parts[i];
}

static unsigned gather_settle(const struct node *node, unsigned pass,
			      void *facts, const void *sum)
{
	const struct gather_node *gather = as_gather(node);
	const double *sums = sum;
	float *means = facts;
	(void)pass;

	for (uint64_t i = 0; i < gather->stride; i++)
		means[i] = (float)(sums[i] / gather->map->n_real);
	return 0;
}

static void gather_free(struct node *node)
{
	struct gather_node *gather =
		CONTAINER_OF(node, struct gather_node, node);

	free(gather->inputs);
	free(gather);
}

/* Says at each input how many rows are taken of it, means aside. */
static bool describe_inputs(const struct row_map *map, cJSON *row)
{
	cJSON *input = NULL;
	uint32_t at = 0;

	cJSON_ArrayForEach(input, cJSON_GetObjectItem(row, "inputs"))
	{
		cJSON *object = cJSON_AddObjectToObject(input, "parameters");
		double n = 0;
		for (size_t i = 0; i < map->n_runs; i++) {
			uint32_t end = i + 1 < map->n_runs
					       ? map->runs[i + 1].first
					       : map->n_rows;
			if (map->runs[i].input == at)
				n += end - map->runs[i].first;
		}
		if (!object || !cJSON_AddNumberToObject(object, "rows", n))
			return false;
		at++;
	}
	return true;
}

/* Rows by where they come from. */
static bool gather_describe(const struct node *node,
			    const struct describing *how, cJSON *row)
{
	const struct row_map *map = as_gather(node)->map;
	double zeros = 0, means = 0, padding = 0;
	(void)how;

	for (size_t i = 0; i < map->n_runs; i++) {
		uint32_t end = i + 1 < map->n_runs ? map->runs[i + 1].first
						   : map->n_rows;
		uint32_t n = end - map->runs[i].first;
		zeros += map->runs[i].input == ROWS_ZERO ? n : 0;
		means += map->runs[i].input == ROWS_MEAN ? n : 0;
		padding += map->runs[i].input == ROWS_PADDING ? n : 0;
	}
	return cJSON_AddNumberToObject(row, "rows", map->n_rows) &&
	       describe_inputs(map, row) &&
	       (zeros == 0 ||
		cJSON_AddNumberToObject(row, "zero_rows", zeros)) &&
	       (means == 0 ||
		cJSON_AddNumberToObject(row, "mean_rows", means)) &&
	       (padding == 0 ||
		cJSON_AddNumberToObject(row, "padding_rows", padding));
}

static const struct node_type gather_type = {
	.name = "gather",
	.eval = gather_eval,
	.facts_size = gather_facts_size,
	.sizes = gather_sizes,
	.scan = gather_scan,
	.fold = gather_fold,
	.settle = gather_settle,
	.describe = gather_describe,
	.free = gather_free,
};

static int find_digest(struct gather_node *gather)
{
	struct hasher *hasher = hasher_new(ENGINE_VERSION);
	if (!hasher)
		return -ENOMEM;

	struct node *node = &gather->node;
	hasher_string(hasher, gather_type.name);
	hasher_digest(hasher, gather->map->digest);
	hasher_u64(hasher, node->n_inputs);
	for (unsigned i = 0; i < node->n_inputs; i++)
		hasher_digest(hasher, node->inputs[i]->digest);
	/* It may be that of an input which gives no row. */
	hasher_string(hasher, node->dtype->name);
	node_hash_shape(hasher, &node->shape);
	node->digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

static void take_most(size_t *most, size_t value)
{
	if (*most < value)
		*most = value;
}

/* Inputs take turns with what a thread has, so the largest counts. */
static void make_room(struct node *node)
{
	for (unsigned i = 0; i < node->n_inputs; i++) {
		const struct node *input = node->inputs[i];
		if (node->n_leaves < input->n_leaves)
			node->n_leaves = input->n_leaves;
		if (node->n_rows < input->n_rows)
			node->n_rows = input->n_rows;
		take_most(&node->scratch, input->scratch);
		take_most(&node->row_room, input->row_room);
	}
	/* The scan's tile, and that of a mean's term or of nothing. */
	node->scratch += 2 * TILE;
}

int node_gather(const struct row_map *map, struct node *const *inputs,
		const struct shape *shape, const struct dtype *dtype,
		struct node **ret)
{
	struct gather_node *gather = calloc(1, sizeof(*gather));
	if (!gather)
		return -ENOMEM;
	gather->node.type = &gather_type;
	AUTO(node) node = &gather->node;

	gather->map = map;
	gather->inputs = calloc(map->n_inputs + 1, sizeof(struct node *));
	if (!gather->inputs)
		return -ENOMEM;
	memcpy(gather->inputs, inputs, map->n_inputs * sizeof(struct node *));
	node->n_inputs = map->n_inputs;
	node->inputs = gather->inputs;
	node->dtype = dtype;
	node->shape = *shape;
	node->shape.dims[0] = map->n_rows;
	gather->stride = 1;
	for (unsigned i = 1; i < shape->rank; i++)
		gather->stride *= shape->dims[i];
	node->count = map->n_rows * gather->stride;
	node->unit = TILE;
	make_room(node);
	int r = find_digest(gather);
	if (r == 0 && map->n_real < map->n_rows)
		r = facts_new(gather_facts_size(node), &node->facts);
	if (r < 0)
		return r;
	*ret = TAKE(node);
	return 0;
}

const struct row_map *node_rows(const struct node *node)
{
	return node->type == &gather_type ? as_gather(node)->map : NULL;
}
