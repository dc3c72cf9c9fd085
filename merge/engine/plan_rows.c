#include "merge/engine/plan_rows.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/node.h"
#include "merge/engine/planner.h"
#include "merge/engine/row_map.h"
#include "merge/engine/shelf.h"
#include "merge/engine/stages.h"
#include "merge/source/source.h"
#include "merge/tokenizer/chat.h"
#include "merge/tokenizer/vocabulary.h"
#include "util/json.h"

static int no_memory(struct planner *planner)
{
	return error_set(planner->err, -ENOMEM, "out of memory");
}

/* Rows of a model's embedding: the longest, as speech models have others beside
 * that of the text. Without one, what config.json says. */
static int count_rows(struct planner *planner, const struct model *model,
		      uint32_t *ret)
{
	uint64_t most = 0;

	for (size_t i = 0; i < model->n_names; i++) {
		const struct named_tensor *named = &model->names[i];
		const struct shape *shape = &named->node->shape;
		if (arch_is_embedding(named->name) && shape->rank == 2 &&
		    shape->dims[0] > most)
			most = shape->dims[0];
	}
	const cJSON *config = model->source->config;
	if (most == 0 && !json_u64(json_at(config, "vocab_size"), &most))
		json_u64(json_at(config, "text_config.vocab_size"), &most);
	if (most == 0 || most > INT32_MAX)
		return error_set(
			planner->err, -EINVAL,
			"%s:%u: model %s has no embedding of a "
			"vocabulary, so its tokenizer cannot be merged",
			planner->recipe->path, planner->recipe->tokenizer.line,
			model->ref->path);
	*ret = (uint32_t)most;
	return 0;
}

/* Of the recipe; NULL in *ret for the working one. */
static int recipe_directory(struct planner *planner, char **ret)
{
	const char *slash = strrchr(planner->recipe->path, '/');

	*ret = NULL;
	if (!slash)
		return 0;
	size_t length = (size_t)(slash - planner->recipe->path);
	*ret = strndup(planner->recipe->path, length ? length : 1);
	return *ret ? 0 : no_memory(planner);
}

int plan_vocabulary(struct planner *planner)
{
	const struct recipe *recipe = planner->recipe;
	const struct models *models = &planner->models;
	if (recipe->tokenizer.source == TOKENIZER_KEPT)
		return 0;

	AUTO_FREE struct vocabulary_model *items =
		calloc(models->n, sizeof(*items));
	AUTO_FREE char *directory = NULL;
	int r = items ? recipe_directory(planner, &directory)
		      : no_memory(planner);
	for (size_t i = 0; r == 0 && i < models->n; i++) {
		items[i].ref = models->items[i].ref;
		items[i].source = models->items[i].source;
		r = count_rows(planner, &models->items[i], &items[i].n_rows);
	}
	if (r < 0)
		return r;
	struct plan *plan = planner->plan;
	const struct stage *stage =
		recipe->tokenizer.source == TOKENIZER_OF_MODEL
			? stages_find(planner->stages, &recipe->tokenizer.model)
			: NULL;
	struct vocabulary_options options = {
		.recipe = recipe,
		.directory = directory,
		.models = items,
		.n_models = models->n,
		.stage = stage ? stage_source(stage) : NULL,
		.base = models->donor,
		.disk = plan->shelf->disk,
	};
	r = vocabulary_new(&options, &plan->vocabulary, &plan->notes,
			   planner->err);
	if (r == 0)
		plan->vocab_size = plan->vocabulary->n_rows;
	return r;
}

int plan_chat(struct planner *planner)
{
	const struct models *models = &planner->models;
	struct plan *plan = planner->plan;
	AUTO_FREE const struct source **sources =
		calloc(models->n, sizeof(*sources));
	AUTO_FREE char *directory = NULL;
	int r = sources ? recipe_directory(planner, &directory)
			: no_memory(planner);

	for (size_t i = 0; r == 0 && i < models->n; i++)
		sources[i] = models->items[i].source;
	return r < 0 ? r
		     : chat_choose(planner->recipe, directory, sources,
				   models->n, &plan->chat_template,
				   &plan->chat_origin, &plan->notes,
				   planner->err);
}

/* Models that have a tensor, and what is gathered from it for one of them. */
struct gathering {
	struct planner *planner;
	size_t model;
	const char *name;
	struct node **nodes; /* (n_models,) NULL where a model lacks it */
	size_t n_models;
	uint32_t n_nobody; /* tokens without a row in any of them */
};

/* Row of token `id` in a model's tensor, or -1. */
static int64_t own_row(const struct gathering *gathering, size_t model,
		       uint32_t id)
{
	const struct vocabulary *vocabulary =
		gathering->planner->plan->vocabulary;
	const struct node *node = gathering->nodes[model];
	int32_t row = vocabulary->own[model][id];

	return node && row >= 0 && (uint64_t)row < node->shape.dims[0] ? row
								       : -1;
}

/* A token that this model lacks: the base's row if others have it, too, the
 * mean of theirs without one in the base, zero if nobody has it. */
static int add_general(struct gathering *gathering, uint32_t id,
		       struct row_map *map)
{
	size_t base = gathering->planner->plan->vocabulary->base, n = 0;
	AUTO_FREE struct row_term *terms =
		calloc(gathering->n_models, sizeof(*terms));
	if (!terms)
		return -ENOMEM;

	for (size_t i = 0; i < gathering->n_models; i++) {
		int64_t row = own_row(gathering, i, id);
		if (row < 0)
			continue;
		terms[n].input = (uint32_t)i;
		terms[n++].row = (uint32_t)row;
		if (i == base && gathering->planner->recipe->base.path)
			return row_map_add(map, (uint32_t)i, (uint32_t)row, 1);
	}
	if (n == 0) {
		gathering->n_nobody++;
		return row_map_add(map, ROWS_ZERO, 0, 1);
	}
	if (n == 1)
		return row_map_add(map, terms[0].input, terms[0].row, 1);
	return row_map_add_mean(map, terms, n);
}

static int add_rule(const struct gathering *gathering,
		    const struct vocabulary_rule *rule, struct row_map *map)
{
	struct planner *planner = gathering->planner;
	if (rule->kind == RULE_ZERO)
		return row_map_add(map, ROWS_ZERO, 0, 1);

	const struct node *node = gathering->nodes[rule->model];
	if (!node || rule->row >= node->shape.dims[0])
		return error_set(planner->err, -EINVAL,
				 "%s:%u: token %u of the output takes its row "
				 "from model %s, whose %s has none",
				 planner->recipe->path,
				 planner->recipe->tokenizer.line, rule->id,
				 planner->models.items[rule->model].ref->path,
				 gathering->name);
	return row_map_add(map, rule->model, rule->row, 1);
}

static int add_row(struct gathering *gathering, uint32_t id,
		   struct row_map *map)
{
	const struct vocabulary_rule *rule =
		vocabulary_rule(gathering->planner->plan->vocabulary, id);
	int64_t own = own_row(gathering, gathering->model, id);

	if (own >= 0 && !(rule && rule->force))
		return row_map_add(map, (uint32_t)gathering->model,
				   (uint32_t)own, 1);
	if (rule && rule->kind != RULE_ANY)
		return add_rule(gathering, rule, map);
	return add_general(gathering, id, map);
}

static int check_widths(const struct gathering *gathering)
{
	struct planner *planner = gathering->planner;
	const struct node *ours = gathering->nodes[gathering->model];

	for (size_t i = 0; i < gathering->n_models; i++) {
		const struct node *node = gathering->nodes[i];
		char a[192], b[192];
		if (!node || shape_equal_rows(&ours->shape, &node->shape))
			continue;
		return error_set(
			planner->err, -EINVAL,
			"%s:%u: tensor %s is %s in %s, but %s in %s; a "
			"tokenizer can be merged only for equal hidden sizes",
			planner->recipe->path, planner->recipe->tokenizer.line,
			gathering->name, shape_format(&ours->shape, a),
			planner->models.items[gathering->model].ref->path,
			shape_format(&node->shape, b),
			planner->models.items[i].ref->path);
	}
	return 0;
}

/* Is the map nothing but the node's own rows? */
static bool is_identity(const struct row_map *map, const struct node *node)
{
	return map->n_runs == 1 && map->runs[0].input < ROWS_PADDING &&
	       map->runs[0].row == 0 && map->n_rows == node->shape.dims[0];
}

/* *node becomes what the map makes of nodes, (n,); takes ownership of the map.
 */
static int gather(struct planner *planner, struct row_map *taken,
		  struct node *const *nodes, size_t n, struct node **node)
{
	AUTO(row_map) map = taken;
	AUTO_FREE int *used = calloc(n, sizeof(*used));
	AUTO_FREE struct node **inputs = calloc(n, sizeof(struct node *));
	const struct row_map *kept = NULL;
	const struct dtype *dtype = (*node)->dtype;
	struct node *gathered = NULL;
	if (!used || !inputs || row_map_seal(map, used, n) < 0)
		return no_memory(planner);

	for (size_t i = 0; i < n; i++) {
		if (nodes[i])
			dtype = dtype_promote(dtype, nodes[i]->dtype);
		if (used[i] >= 0)
			inputs[used[i]] = nodes[i];
	}
	if (map->n_inputs == 1 && inputs[0]->dtype == dtype &&
	    is_identity(map, inputs[0])) {
		*node = inputs[0];
		return 0;
	}
	struct shelf *shelf = planner->plan->shelf;
	if (shelf_keep_map(shelf, TAKE(map), &kept) < 0 ||
	    node_gather(kept, inputs, &(*node)->shape, dtype, &gathered) < 0 ||
	    node_set_add(&shelf->nodes, gathered, node) < 0)
		return no_memory(planner);
	return 0;
}

static int build_map(struct gathering *gathering, struct row_map *map)
{
	const struct vocabulary *vocabulary =
		gathering->planner->plan->vocabulary;
	int r = 0;

	for (uint32_t id = 0; r == 0 && id < vocabulary->n_tokens; id++)
		r = add_row(gathering, id, map);
	if (r == 0)
		r = row_map_pad(map, vocabulary->n_rows - vocabulary->n_tokens);
	return r == -ENOMEM ? no_memory(gathering->planner) : r;
}

/* Tokens that nobody has: their rows are zero, which should be known. */
static int note_nobody(const struct gathering *gathering)
{
	if (gathering->n_nobody == 0)
		return 0;
	int r = notes_add(&gathering->planner->plan->notes,
			  "%s: %u tokens have no row in any of its inputs; "
			  "theirs are zero",
			  gathering->name, gathering->n_nobody);
	return r < 0 ? no_memory(gathering->planner) : 0;
}

static int align(struct gathering *gathering, struct node **node)
{
	AUTO(row_map) map = NULL;
	if (row_map_new(&map) < 0)
		return no_memory(gathering->planner);

	gathering->n_nobody = 0;
	int r = check_widths(gathering);
	if (r == 0)
		r = build_map(gathering, map);
	if (r == 0)
		r = note_nobody(gathering);
	return r < 0 ? r
		     : gather(gathering->planner, TAKE(map), gathering->nodes,
			      gathering->n_models, node);
}

/* Are the rows tokens, and all tokens of the model? */
static bool has_tokens(const struct vocabulary *vocabulary, size_t model,
		       const struct node *node)
{
	return node && node->shape.rank > 0 && node->dtype->mergeable &&
	       node->shape.dims[0] == vocabulary->model_rows[model];
}

int plan_align(struct planner *planner, const char *name, const size_t *models,
	       struct node **nodes, unsigned n)
{
	const struct vocabulary *vocabulary = planner->plan->vocabulary;
	if (!vocabulary || !arch_has_tokens(name))
		return 0;

	AUTO_FREE struct node **by_model =
		calloc(planner->models.n, sizeof(struct node *));
	if (!by_model)
		return no_memory(planner);
	for (unsigned i = 0; i < n; i++) {
		if (has_tokens(vocabulary, models[i], nodes[i]))
			by_model[models[i]] = nodes[i];
	}
	struct gathering gathering = {
		.planner = planner,
		.name = name,
		.nodes = by_model,
		.n_models = planner->models.n,
	};
	int r = 0;
	for (unsigned i = 0; r == 0 && i < n; i++) {
		gathering.model = models[i];
		if (nodes[i] && by_model[models[i]] == nodes[i])
			r = align(&gathering, &nodes[i]);
	}
	return r;
}

/* The first n rows of a node. */
static int cut(struct planner *planner, struct node **node, uint32_t n)
{
	AUTO(row_map) map = NULL;
	struct node *whole = *node;

	if (row_map_new(&map) < 0 || row_map_add(map, 0, 0, n) < 0)
		return no_memory(planner);
	return gather(planner, TAKE(map), &whole, 1, node);
}

static int note_rows(struct planner *planner, const char *name, uint64_t common,
		     const struct node *tail)
{
	const struct models *models = &planner->models;
	int r;

	if (tail)
		r = notes_add(&planner->plan->notes,
			      "%s: row counts differ; the first %" PRIu64
			      " rows are merged, the %" PRIu64
			      " behind them carried from %s",
			      name, common, tail->shape.dims[0] - common,
			      models->items[models->donor].ref->path);
	else
		r = notes_add(&planner->plan->notes,
			      "%s: row counts differ; the first %" PRIu64
			      " rows are merged, as many as %s has",
			      name, common,
			      models->items[models->donor].ref->path);
	return r < 0 ? no_memory(planner) : 0;
}

int plan_common_rows(struct planner *planner, const char *name,
		     struct node **nodes, size_t n, struct node **ret_tail)
{
	const struct models *models = &planner->models;
	struct node *donor = model_node(&models->items[models->donor], name);
	uint64_t most = 0;

	*ret_tail = NULL;
	if (planner->plan->vocabulary || n == 0 || !arch_has_tokens(name) ||
	    nodes[0]->shape.rank == 0)
		return 0;
	if (!donor || !shape_equal_rows(&donor->shape, &nodes[0]->shape))
		donor = nodes[0];
	uint64_t rows = donor->shape.dims[0], common = rows;
	for (size_t i = 0; i < n; i++) {
		if (nodes[i]->shape.dims[0] < common)
			common = nodes[i]->shape.dims[0];
		if (nodes[i]->shape.dims[0] > most)
			most = nodes[i]->shape.dims[0];
	}
	if (common == most || most > INT32_MAX)
		return 0;
	*ret_tail = rows > common ? donor : NULL;
	int r = note_rows(planner, name, common, *ret_tail);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = cut(planner, &nodes[i], (uint32_t)common);
	return r;
}

int plan_append_rows(struct planner *planner, struct node **node,
		     struct node *tail)
{
	AUTO(row_map) map = NULL;
	struct node *nodes[] = {*node, tail};
	uint32_t n = (uint32_t)(*node)->shape.dims[0];
	if (!tail)
		return 0;

	if (row_map_new(&map) < 0 || row_map_add(map, 0, 0, n) < 0 ||
	    row_map_add(map, 1, n, (uint32_t)tail->shape.dims[0] - n) < 0)
		return no_memory(planner);
	return gather(planner, TAKE(map), nodes, 2, node);
}
