/* Nodes that apply an adapter to a tensor. */
#include "merge/engine/node_lora.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/describe.h"
#include "merge/engine/factor.h"
#include "merge/engine/facts.h"
#include "merge/engine/node_private.h"
#include "merge/engine/patch.h"
#include "util/range.h"

/*
 * A thread computes so many elements at once: rows enough that the right
 * factor's panels are read from memory seldom, and no more than a block has.
 */
#define UNIT ((uint64_t)1 << 18)

struct lora_node {
	struct node node;
	struct node *input;	    /* borrowed; node.inputs points here */
	struct lora_patch *patches; /* (n_patches,) owned */
	size_t n_patches;
	struct factor *lengths; /* borrowed, or NULL */
	bool by_column, rounds_twice;
	uint64_t columns, rows; /* of the tensor as a matrix */
	const char *adapter;	/* borrowed */
};

static const struct lora_node *as_lora(const struct node *node)
{
	return CONTAINER_OF(node, const struct lora_node, node);
}

struct work {
	const struct lora_node *lora;
	struct patching how;
};

static struct work work_of(const struct lora_node *lora,
			   const struct eval *eval)
{
	return (struct work){
		.lora = lora,
		.how = {.isa = eval->isa,
			.dtype = lora->node.dtype,
			.rounds_twice = lora->rounds_twice,
			.delta = eval->scratch},
	};
}

typedef int area_fn(const struct work *work, const struct area *area,
		    void *arg);

/* Elements [first, first + n) as rectangles: the end of a row, whole rows, the
 * beginning of a row. */
static int for_areas(const struct work *work, uint64_t first, uint64_t n,
		     float *values, area_fn *each, void *arg)
{
	uint64_t columns = work->lora->columns;

	while (n > 0) {
		uint64_t column = first % columns;
		bool whole = column == 0 && n >= columns;
		struct area area = {
			.row = first / columns,
			.n_rows = whole ? n / columns : 1,
			.column = column,
			.n_columns =
				whole ? columns : min_u64(columns - column, n),
			.values = values,
			.step = columns,
		};
		uint64_t now = area.n_rows * area.n_columns;
		int r = each(work, &area, arg);
		if (r < 0)
			return r;
		values += now;
		first += now;
		n -= now;
	}
	return 0;
}

static int add_area(const struct work *work, const struct area *area,
		    void *arg UNUSED)
{
	const struct lora_node *lora = work->lora;

	return patch_apply(&work->how, lora->patches, lora->n_patches, area);
}

struct lengths {
	const float *wanted; /* of the adapter */
	const float *found;  /* facts */
};

/* A row or column of zeros has no direction: 0 / 0 is NaN, as it is in PEFT. */
static int scale_area(const struct work *work, const struct area *area,
		      void *arg)
{
	const struct lengths *lengths = arg;
	const float *wanted = lengths->wanted, *found = lengths->found;

	for (uint64_t i = 0; i < area->n_rows; i++) {
		float *row = area->values + i * area->step;
		uint64_t at = area->row + i;
		if (!work->lora->by_column) {
			float factor = wanted[at] / found[at];
			for (uint64_t j = 0; j < area->n_columns; j++)
				row[j] *= factor;
			continue;
		}
		for (uint64_t j = 0; j < area->n_columns; j++) {
			at = area->column + j;
			row[j] *= wanted[at] / found[at];
		}
	}
	return 0;
}

/* The input and what is added to it. */
static int eval_sum(const struct work *work, const struct eval *eval,
		    uint64_t first, uint64_t n, float *out)
{
	struct eval below = *eval;
	below.scratch += PATCH_ROOM;

	int r = node_eval_range(work->lora->input, &below, first, n, out);
	if (r < 0 || work->lora->n_patches == 0)
		return r;
	return for_areas(work, first, n, out, add_area, NULL);
}

static int lora_unit(const struct node *node, const struct eval *eval,
		     uint64_t first, uint64_t n, float *out)
{
	const struct lora_node *lora = as_lora(node);
	struct work work = work_of(lora, eval);

	int r = eval_sum(&work, eval, first, n, out);
	if (r == 0 && lora->lengths) {
		struct lengths lengths = {.found = facts_data(node->facts)};
		r = factor_get(lora->lengths, eval->isa, &lengths.wanted);
		if (r < 0)
			return r;
		r = for_areas(&work, first, n, out, scale_area, &lengths);
		factor_put(lora->lengths);
	}
	patch_round(&work.how, out, n);
	return r;
}

static int lora_eval(const struct node *node, struct eval *eval, uint64_t first,
		     size_t n, float *out)
{
	return node_eval_units(node, eval, first, n, out, 1, lora_unit);
}

/*
 * Facts of DoRA: the length of each row or column of the sum. A part has the
 * squares of the rows that its piece touches, or of all columns.
 */
struct lora_part {
	uint64_t first; /* row or column of squares[0] */
	double squares[];
};

static uint64_t n_lengths(const struct lora_node *lora)
{
	return lora->by_column ? lora->columns : lora->rows;
}

static uint64_t part_room(const struct lora_node *lora)
{
	return lora->by_column ? lora->columns
			       : min_u64(lora->rows, PIECE / lora->columns + 2);
}

static size_t lora_facts_size(const struct node *node)
{
	return round_up(n_lengths(as_lora(node)) * sizeof(float), 8);
}

static struct method_sizes lora_sizes(const struct node *node,
				      unsigned pass UNUSED)
{
	const struct lora_node *lora = as_lora(node);

	return (struct method_sizes){
		.part = sizeof(struct lora_part) +
			part_room(lora) * sizeof(double),
		.sum = n_lengths(lora) * sizeof(double),
	};
}

static int square_area(const struct work *work, const struct area *area,
		       void *arg)
{
	struct lora_part *part = arg;

	for (uint64_t i = 0; i < area->n_rows; i++) {
		const float *row = area->values + i * area->step;
		double *squares =
			part->squares + (work->lora->by_column
						 ? area->column
						 : area->row + i - part->first);
		size_t step = work->lora->by_column;
		for (uint64_t j = 0; j < area->n_columns; j++)
			squares[j * step] += (double)row[j] * row[j];
	}
	return 0;
}

static int lora_scan(const struct node *node, struct eval *eval,
		     struct method_scan *scan)
{
	const struct lora_node *lora = as_lora(node);
	struct lora_part *part = scan->part;
	struct eval below = *eval;
	struct row_window *window = below.rows++;
	struct work work = work_of(lora, eval);

	part->first = lora->by_column ? 0 : scan->piece / lora->columns;
	window->node = NULL;
	int r = eval_sum(&work, &below, scan->first, scan->n, window->data);
	if (r < 0)
		return r;
	return for_areas(&work, scan->first, scan->n, window->data, square_area,
			 part);
}

static void lora_fold(const struct node *node, void *sum, const void *from,
		      unsigned pass UNUSED, const void *facts UNUSED)
{
	const struct lora_node *lora = as_lora(node);
	const struct lora_part *part = from;
	uint64_t n = min_u64(part_room(lora), n_lengths(lora) - part->first);
	double *squares = (double *)sum + part->first;

	for (uint64_t i = 0; i < n; i++)
		squares[i] += part->squares[i];
}

static unsigned lora_settle(const struct node *node, unsigned pass UNUSED,
			    void *facts, const void *sum)
{
	float *lengths = facts;
	const double *squares = sum;

	for (uint64_t i = 0; i < n_lengths(as_lora(node)); i++)
		lengths[i] = (float)sqrt(squares[i]);
	return 0;
}

static int check_factor(const struct factor *factor)
{
	return factor ? factor_check(factor) : 0;
}

static int lora_check(const struct node *node)
{
	const struct lora_node *lora = as_lora(node);
	int r = check_factor(lora->lengths);

	/* All factors of a node are of one file; a bias has no left one. */
	if (r == 0 && lora->n_patches > 0)
		r = check_factor(lora->patches[0].left);
	if (r == 0 && lora->n_patches > 0)
		r = check_factor(lora->patches[0].right);
	return r < 0 ? r : node_check(lora->input);
}

static bool lora_describe(const struct node *node,
			  const struct describing *how UNUSED, cJSON *row)
{
	const struct lora_node *lora = as_lora(node);
	const struct lora_patch *patch = lora->patches;
	const char *formula = !lora->n_patches ? "rounded to its dtype"
			      : !patch->rank   ? "rows replaced"
			      : lora->lengths  ? "m * (W + s*B*A) / |W + s*B*A|"
					       : "W + s*B*A";

	if (!cJSON_AddStringToObject(row, "formula", formula))
		return false;
	if (lora->adapter &&
	    !cJSON_AddStringToObject(row, "adapter", lora->adapter))
		return false;
	if (!lora->n_patches || !patch->rank)
		return true;
	cJSON *object = cJSON_AddObjectToObject(row, "parameters");
	return object && cJSON_AddNumberToObject(object, "r", patch->rank) &&
	       cJSON_AddNumberToObject(object, "s", patch->scale);
}

static void lora_free(struct node *node)
{
	struct lora_node *lora = CONTAINER_OF(node, struct lora_node, node);

	free(lora->patches);
	free(lora);
}

static const struct node_type lora_type = {
	.name = "lora",
	.eval = lora_eval,
	.facts_size = lora_facts_size,
	.sizes = lora_sizes,
	.scan = lora_scan,
	.fold = lora_fold,
	.settle = lora_settle,
	.check = lora_check,
	.describe = lora_describe,
	.free = lora_free,
};

static void hash_patch(struct hasher *hasher, const struct lora_patch *patch)
{
	hasher_u64(hasher, patch->row);
	hasher_u64(hasher, patch->n_rows);
	hasher_u64(hasher, patch->column);
	hasher_u64(hasher, patch->n_columns);
	hasher_u64(hasher, patch->rank);
	hasher_f64(hasher, patch->scale);
	factor_hash(patch->left, hasher);
	hasher_u64(hasher, patch->left_row);
	if (patch->right)
		factor_hash(patch->right, hasher);
	hasher_u64(hasher, patch->right_batch);
}

static int lora_digest(struct lora_node *lora)
{
	struct hasher *hasher = hasher_new(ENGINE_VERSION);
	if (!hasher)
		return -ENOMEM;

	hasher_string(hasher, lora_type.name);
	hasher_digest(hasher, lora->input->digest);
	hasher_string(hasher, lora->node.dtype->name);
	hasher_u64(hasher, lora->rounds_twice);
	hasher_u64(hasher, lora->n_patches);
	for (size_t i = 0; i < lora->n_patches; i++)
		hash_patch(hasher, &lora->patches[i]);
	hasher_u64(hasher, lora->lengths ? 1 + lora->by_column : 0);
	if (lora->lengths)
		factor_hash(lora->lengths, hasher);
	lora->node.digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

static void init_node(struct lora_node *lora, const struct lora_terms *terms)
{
	struct node *node = &lora->node, *input = terms->input;
	uint64_t room = min_u64(UNIT, round_up(input->count, 16));

	lora->input = input;
	lora->lengths = terms->lengths;
	lora->by_column = terms->by_column;
	lora->rounds_twice = terms->rounds_twice;
	lora->adapter = terms->adapter;
	node->dtype = terms->dtype;
	node->shape = input->shape;
	node->count = input->count;
	node->unit = UNIT;
	node->n_inputs = 1;
	node->inputs = &lora->input;
	node->scratch = input->scratch + PATCH_ROOM;
	node->n_leaves = input->n_leaves;
	node->n_rows = input->n_rows + 1;
	node->row_room = max_u64(input->row_room, room);
	lora->columns = 1;
	if (node->shape.rank && node->count)
		lora->columns = node->shape.dims[node->shape.rank - 1];
	lora->rows = node->count / lora->columns;
}

int node_lora(const struct lora_terms *terms, struct node **ret)
{
	struct lora_node *lora = calloc(1, sizeof(*lora));
	if (!lora)
		return -ENOMEM;
	lora->node.type = &lora_type;
	AUTO(node) node = &lora->node;

	init_node(lora, terms);
	lora->n_patches = terms->n_patches;
	lora->patches = calloc(terms->n_patches + 1, sizeof(*lora->patches));
	if (!lora->patches)
		return -ENOMEM;
	if (terms->n_patches > 0)
		memcpy(lora->patches, terms->patches,
		       terms->n_patches * sizeof(*lora->patches));
	int r = lora_digest(lora);
	if (r == 0 && lora->lengths)
		r = facts_new(lora_facts_size(node), &node->facts);
	if (r < 0)
		return r;
	*ret = TAKE(node);
	return 0;
}
