/* Nodes that apply a merge method to their inputs. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/describe.h"
#include "merge/engine/facts.h"
#include "merge/engine/marks.h"
#include "merge/engine/node_private.h"
#include "util/error.h"
#include "util/range.h"

struct merge_node {
	struct node node;
	const struct method *method;
	size_t place; /* in every instruction set's table of methods */
	struct method_args args;
	bool marks;	/* are any kept for blends? */
	int copied;	/* input whose values are the result, or -1 */
	double *values; /* (n_params, n_inputs) owned */
	struct method_stream *streams; /* (n_inputs,) or NULL, owned */
	struct node **inputs;	       /* (n_inputs,) owned array */
};

static const struct merge_node *as_merge(const struct node *node)
{
	return CONTAINER_OF(node, const struct merge_node, node);
}

/* The method as compiled for an instruction set, with arguments of that. */
static const struct method *compiled_for(const struct merge_node *merge,
					 const struct isa *isa,
					 struct method_args *ret_args)
{
	const struct method *method = isa->methods[merge->place];

	*ret_args = merge->args;
	ret_args->traits = method->traits;
	return method;
}

/* Does it need whole rows? Then it has a row window of its own, the first. */
static bool by_rows(const struct merge_node *merge)
{
	const struct method *method = merge->method;

	return merge->copied < 0 && method->by_rows &&
	       method->by_rows(&merge->args);
}

/* Floats that the row of input pointers takes at the head of the scratch. */
static size_t pointer_room(unsigned n_inputs)
{
	return round_up(n_inputs * sizeof(float *), 64) / sizeof(float);
}

/* Floats that one input takes in the scratch. */
static size_t input_room(const struct node *node)
{
	return round_up(node->unit > TILE ? node->unit : TILE, 16);
}

/* May the method be given its inputs as they are stored? */
static bool have_halves(const struct merge_node *merge)
{
	const struct node *node = &merge->node;
	bool (*takes)(const struct method_args *) = merge->method->takes_halves;
	if (merge->copied >= 0 || !takes || !takes(&merge->args) ||
	    by_rows(merge))
		return false;

	for (unsigned i = 0; i < node->n_inputs; i++) {
		const struct node *input = node->inputs[i];
		if (!input->type->peek || input->dtype->code != DTYPE_BF16)
			return false;
	}
	return true;
}

/* Points at all inputs where they lie, which nobody writes to. */
static int peek_inputs(const struct node *node, const struct eval *eval,
		       uint64_t first, size_t n, float *const **ret)
{
	float **in = (float **)(void *)eval->scratch;
	struct eval below = *eval;
	const unsigned char *bytes = NULL;

	for (unsigned i = 0; i < node->n_inputs; i++) {
		const struct node *input = node->inputs[i];
		int r = input->type->peek(input, &below, first, n, &bytes);
		if (r < 0)
			return r;
		in[i] = (float *)(void *)bytes;
	}
	*ret = in;
	return 0;
}

/* Evaluates all inputs into scratch; *ret points at them. */
static int eval_inputs(const struct node *node, const struct eval *eval,
		       uint64_t first, size_t n, float *const **ret)
{
	if (as_merge(node)->args.halves)
		return peek_inputs(node, eval, first, n, ret);

	float **in = (float **)(void *)eval->scratch;
	float *room = eval->scratch + pointer_room(node->n_inputs);
	struct eval below = *eval;
	below.scratch = room + node->n_inputs * input_room(node);

	for (unsigned i = 0; i < node->n_inputs; i++) {
		in[i] = room;
		room += input_room(node);
		int r = node_eval_next(node->inputs[i], &below, first, n,
				       in[i]);
		if (r < 0)
			return r;
	}
	*ret = in;
	return 0;
}

/* The one input that is the result; those before it leave their windows. */
static int eval_copied(const struct node *node, const struct eval *eval,
		       uint64_t first, size_t n, float *out)
{
	struct eval below = *eval;
	int copied = as_merge(node)->copied;

	for (int i = 0; i < copied; i++) {
		below.windows += node->inputs[i]->n_leaves;
		below.rows += node->inputs[i]->n_rows;
	}
	return node_eval_range(node->inputs[copied], &below, first, n, out);
}

static int blend(const struct node *node, const struct eval *eval,
		 uint64_t first, size_t n, float *out)
{
	const struct merge_node *merge = as_merge(node);
	struct method_args args;
	const struct method *method = compiled_for(merge, eval->isa, &args);
	float *const *in = NULL;
	if (merge->copied >= 0)
		return eval_copied(node, eval, first, n, out);

	int r = eval_inputs(node, eval, first, n, &in);
	if (r < 0)
		return r;
	if (merge->marks && eval->marks)
		args.marks = marks_find(eval->marks, node, first, n);
	if (args.marks)
		args.piece = eval->marks->piece;
	method->blend(out, in, first, n, &args,
		      node->facts ? facts_data(node->facts) : NULL);
	return 0;
}

static int merge_eval(const struct node *node, struct eval *eval,
		      uint64_t first, size_t n, float *out)
{
	int r = blend(node, eval, first, n, out);

	eval->windows += node->n_leaves;
	eval->rows += node->n_rows;
	return r;
}

static int merge_eval_rows(const struct node *node, struct eval *eval,
			   uint64_t first, size_t n, float *out)
{
	return node_eval_units(node, eval, first, n, out, node->unit, blend);
}

static size_t merge_facts_size(const struct node *node)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->facts_size(&merge->args);
}

static struct method_sizes merge_sizes(const struct node *node, unsigned pass)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->sizes(pass, &merge->args);
}

static void merge_begin(const struct node *node, void *part, size_t size,
			unsigned pass)
{
	const struct merge_node *merge = as_merge(node);

	if (merge->method->begin)
		merge->method->begin(part, pass, &merge->args);
	else
		memset(part, 0, size);
}

static int merge_scan(const struct node *node, struct eval *eval,
		      struct method_scan *scan)
{
	const struct merge_node *merge = as_merge(node);
	struct eval below = *eval;
	struct method_args args;

	below.rows += by_rows(merge);
	int r = eval_inputs(node, &below, scan->first, scan->n, &scan->in);
	if (r < 0)
		return r;
	compiled_for(merge, eval->isa, &args)->scan(scan, &args);
	return 0;
}

static size_t merge_reach(const struct node *node,
			  const struct method_scan *scan)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->reach ? merge->method->reach(scan, &merge->args)
				    : scan->n;
}

static void merge_fold(const struct node *node, void *sum, const void *part,
		       unsigned pass, const void *facts)
{
	const struct merge_node *merge = as_merge(node);

	merge->method->fold(sum, part, pass, facts, &merge->args);
}

static unsigned merge_settle(const struct node *node, unsigned pass,
			     void *facts, const void *sum)
{
	const struct merge_node *merge = as_merge(node);

	return merge->method->settle(facts, pass, sum, &merge->args);
}

static cJSON *param_json(const struct method_param *param, double value)
{
	return param->type == PARAM_BOOL ? cJSON_CreateBool(value != 0)
					 : cJSON_CreateNumber(value);
}

/* Parameters of one input, or, for -1, those that all inputs share. */
static bool describe_params(const struct merge_node *merge, int input,
			    cJSON *row)
{
	const struct method_param *params = merge->method->params;
	cJSON *object = cJSON_AddObjectToObject(row, "parameters");

	for (unsigned p = 0; object && params[p].name; p++) {
		if (params[p].per_model != (input >= 0))
			continue;
		cJSON *value =
			param_json(&params[p], arg_of(&merge->args, p,
						      input < 0 ? 0 : input));
		if (cJSON_AddItemToObject(object, params[p].name, value))
			continue;
		cJSON_Delete(value);
		return false;
	}
	return object;
}

/* What method and inputs are to each other. */
static bool describe_inputs(const struct merge_node *merge, cJSON *row)
{
	bool special = merge->method->base != BASE_ORDINARY;
	cJSON *input = NULL;
	int i = 0;

	cJSON_ArrayForEach(input, cJSON_GetObjectItem(row, "inputs"))
	{
		bool ok = special && i == merge->args.base
				  ? cJSON_AddTrueToObject(input, "base") != NULL
				  : describe_params(merge, i, input);
		if (!ok)
			return false;
		i++;
	}
	return true;
}

/* JSON has no NaN. */
static bool add_fact(cJSON *list, const struct method_fact *fact)
{
	cJSON *row = json_append_object(list);

	if (!row || !cJSON_AddStringToObject(row, "name", fact->name))
		return false;
	if (fact->input >= 0 &&
	    !cJSON_AddNumberToObject(row, "input", fact->input))
		return false;
	return isfinite(fact->value)
		       ? cJSON_AddNumberToObject(row, "value", fact->value)
		       : cJSON_AddNullToObject(row, "value");
}

/* Without those of an input whose values are copied: nothing is asked then. */
static bool describe_facts(const struct merge_node *merge, cJSON *row)
{
	const struct method *method = merge->method;
	struct method_fact fact = {0};
	const void *facts;
	if (!merge->node.facts)
		return true;

	facts = facts_known(merge->node.facts);
	if (!facts)
		return cJSON_AddNullToObject(row, "facts");
	cJSON *list = cJSON_AddArrayToObject(row, "facts");
	bool ok = list;
	for (unsigned i = 0; ok && method->tell; i++) {
		if (!method->tell(&fact, i, facts, &merge->args))
			break;
		if (fact.name)
			ok = add_fact(list, &fact);
	}
	return ok;
}

static bool merge_describe(const struct node *node,
			   const struct describing *how, cJSON *row)
{
	const struct merge_node *merge = as_merge(node);
	const struct method *method = merge->method;

	return cJSON_AddStringToObject(row, "method", method->name) &&
	       cJSON_AddStringToObject(row, "formula", method->formula) &&
	       describe_params(merge, -1, row) && describe_inputs(merge, row) &&
	       (how->brief || describe_facts(merge, row));
}

static void merge_free(struct node *node)
{
	struct merge_node *merge = CONTAINER_OF(node, struct merge_node, node);

	free(merge->values);
	free(merge->streams);
	free(merge->inputs);
	free(merge);
}

#define MERGE_TYPE(eval_fn)                                           \
	{                                                             \
		.name = "merge", .eval = eval_fn,                     \
		.facts_size = merge_facts_size, .sizes = merge_sizes, \
		.begin = merge_begin, .scan = merge_scan,             \
		.reach = merge_reach, .fold = merge_fold,             \
		.settle = merge_settle, .describe = merge_describe,   \
		.free = merge_free,                                   \
	}

static const struct node_type merge_type = MERGE_TYPE(merge_eval);
static const struct node_type merge_by_rows_type = MERGE_TYPE(merge_eval_rows);

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
	for (unsigned i = 0; i < node->n_inputs; i++) {
		hasher_digest(hasher, node->inputs[i]->digest);
		if (merge->streams) {
			hasher_u64(hasher, merge->streams[i].key);
			hasher_u64(hasher, merge->streams[i].nonce);
		}
	}
	for (size_t i = 0; i < n_values; i++)
		hasher_f64(hasher, merge->values[i]);
	node_hash_shape(hasher, &node->shape);
	node->digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

static void init_args(struct merge_node *merge, const struct merge_terms *terms)
{
	const struct node *node = &merge->node;

	merge->method = terms->method;
	while (method_all()[merge->place] != terms->method)
		merge->place++;
	merge->args = (struct method_args){
		.n_inputs = terms->n_inputs,
		.base = terms->base,
		.values = merge->values,
		.count = node->count,
		.row = node->shape.rank ? node->shape.dims[node->shape.rank - 1]
					: 1,
		.stride = node->shape.rank && node->shape.dims[0]
				  ? node->count / node->shape.dims[0]
				  : 1,
		.streams = merge->streams,
		.traits = terms->method->traits,
	};
	merge->copied = -1;
	if (merge->method->copies)
		merge->copied = merge->method->copies(&merge->args);
}

static void init_node(struct merge_node *merge, const struct merge_terms *terms)
{
	struct node *node = &merge->node;
	const struct node *first = terms->inputs[0];

	node->dtype = first->dtype;
	node->shape = first->shape;
	node->count = first->count;
	node->n_inputs = terms->n_inputs;
	node->inputs = merge->inputs;
	for (unsigned i = 0; i < node->n_inputs; i++) {
		const struct node *input = merge->inputs[i];
		node->dtype = dtype_promote(node->dtype, input->dtype);
		node->n_leaves += input->n_leaves;
		node->n_rows += input->n_rows;
		if (input->scratch > node->scratch)
			node->scratch = input->scratch;
		if (input->row_room > node->row_room)
			node->row_room = input->row_room;
	}
}

/* By rows or not, and the room that this takes. */
static void init_unit(struct merge_node *merge)
{
	struct node *node = &merge->node;
	uint64_t row = merge->args.row;

	node->type = &merge_type;
	node->unit = TILE;
	if (by_rows(merge) && row > 0) {
		node->type = &merge_by_rows_type;
		node->unit = method_unit(row);
		node->n_rows++;
		if (node->row_room < node->unit)
			node->row_room = node->unit;
	}
	merge->args.halves = have_halves(merge);
	node->scratch += pointer_room(node->n_inputs) +
			 node->n_inputs * input_room(node);
}

static int copy_terms(struct merge_node *merge, const struct merge_terms *terms,
		      size_t n_values)
{
	unsigned n = terms->n_inputs;

	merge->inputs = calloc(n, sizeof(struct node *));
	merge->values = calloc(n_values + 1, sizeof(double));
	if (terms->method->random)
		merge->streams = calloc(n, sizeof(struct method_stream));
	if (!merge->inputs || !merge->values ||
	    (terms->method->random && !merge->streams))
		return -ENOMEM;

	memcpy(merge->inputs, terms->inputs, n * sizeof(struct node *));
	if (n_values > 0)
		memcpy(merge->values, terms->values, n_values * sizeof(double));
	if (merge->streams)
		memcpy(merge->streams, terms->streams,
		       n * sizeof(struct method_stream));
	return 0;
}

int node_merge(const struct merge_terms *terms, struct node **ret)
{
	size_t n_values = method_param_count(terms->method) * terms->n_inputs;
	struct merge_node *merge = calloc(1, sizeof(*merge));
	if (!merge)
		return -ENOMEM;
	merge->node.type = &merge_type;
	AUTO(node) node = &merge->node;

	int r = copy_terms(merge, terms, n_values);
	if (r < 0)
		return r;
	init_node(merge, terms);
	init_args(merge, terms);
	init_unit(merge);
	r = merge_digest(merge, n_values);
	if (r < 0)
		return r;
	if (merge->copied < 0 &&
	    method_has_facts(merge->method, &merge->args)) {
		merge->marks = merge_sizes(node, 0).marks > 0;
		r = facts_new(merge_facts_size(node), &node->facts);
		if (r < 0)
			return r;
	}
	*ret = TAKE(node);
	return 0;
}

const struct method *node_method(const struct node *node,
				 const struct method_args **ret_args)
{
	if (node->type != &merge_type && node->type != &merge_by_rows_type)
		return NULL;
	*ret_args = &as_merge(node)->args;
	return as_merge(node)->method;
}

int node_check_terms(const struct node *node, struct error *err)
{
	const struct merge_node *merge = as_merge(node);
	const struct method *method = merge->method;

	if (node->unit > ROW_MOST)
		return error_set(err, -EINVAL,
				 "its rows have %" PRIu64 " elements, but "
				 "method %s takes whole rows of at most "
				 "%" PRIu64,
				 merge->args.row, method->name, ROW_MOST);
	return method->check ? method->check(&merge->args, err) : 0;
}
