/* From the matrices of a module to what its weights become. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/arch/arch.h"
#include "merge/engine/adapt.h"
#include "merge/engine/factor.h"
#include "merge/engine/node.h"
#include "merge/engine/node_set.h"
#include "merge/source/adapter.h"
#include "merge/source/source.h"
#include "util/json.h"

int adapt_wrong_shape(const struct adapt *adapt,
		      const struct adapt_module *module,
		      const struct tensor *weight)
{
	char w[192], a[192], b[192];

	return error_set(adapt->err, -EINVAL,
			 "%s: %s is %s in %s, which does not fit the adapter's "
			 "lora_A %s and lora_B %s",
			 adapt->config->path, weight->name,
			 shape_format(&weight->shape, w),
			 adapt->terms.base->label,
			 shape_format(&module->a->shape, a),
			 shape_format(&module->b->shape, b));
}

int adapt_check_rank(const struct adapt *adapt,
		     const struct adapt_module *module, const char *name,
		     uint64_t n_experts, uint64_t *ret)
{
	const struct tensor *a = module->a, *b = module->b;
	const char *path = adapt->config->path;
	char a_shape[192], b_shape[192];
	double wanted = adapter_rank(adapt->config, name);

	if (a->shape.rank != 2 || b->shape.rank != 2)
		return error_set(adapt->err, -EINVAL,
				 "%s: %s is adapted by lora_A %s and lora_B "
				 "%s; only matrices are supported",
				 path, name, shape_format(&a->shape, a_shape),
				 shape_format(&b->shape, b_shape));
	if (a->shape.dims[0] != b->shape.dims[1])
		return error_set(adapt->err, -EINVAL,
				 "%s: the ranks of %s differ: lora_A is %s and "
				 "lora_B %s",
				 path, name, shape_format(&a->shape, a_shape),
				 shape_format(&b->shape, b_shape));
	if (n_experts == 0 ||
	    (double)a->shape.dims[0] != wanted * (double)n_experts)
		return error_set(adapt->err, -EINVAL,
				 "%s: lora_A of %s is %s, but r of "
				 "adapter_config.json says %g%s",
				 path, name, shape_format(&a->shape, a_shape),
				 wanted, n_experts == 1 ? "" : " per expert");
	*ret = a->shape.dims[0] / n_experts;
	return 0;
}

int adapt_factor(struct adapt *adapt, const struct factor_view *view,
		 struct factor **ret)
{
	int r = factors_add(adapt->terms.factors, view, ret);

	return r < 0 ? error_set(adapt->err, r, "%s: %s", adapt->config->path,
				 r == -ENOMEM ? "out of memory" : "too large")
		     : 0;
}

int adapt_factors(struct adapt *adapt, const struct adapt_module *module,
		  bool transposed, struct lora_patch *patch)
{
	const struct tensor *a = module->a, *b = module->b;
	enum factor_axis first = transposed ? FACTOR_COLUMN : FACTOR_ROW;
	enum factor_axis last = transposed ? FACTOR_ROW : FACTOR_COLUMN;
	struct factor_view of_a = {
		.tensor = a,
		.sizes = {1, a->shape.dims[0], a->shape.dims[1]},
		.axes = {FACTOR_BATCH, first, last},
		.panels = !transposed,
	};
	struct factor_view of_b = {
		.tensor = b,
		.sizes = {1, b->shape.dims[0], b->shape.dims[1]},
		.axes = {FACTOR_BATCH, first, last},
		.panels = transposed,
	};

	int r = adapt_factor(adapt, transposed ? &of_a : &of_b, &patch->left);
	return r < 0 ? r
		     : adapt_factor(adapt, transposed ? &of_b : &of_a,
				    &patch->right);
}

/*
 * Layers of GPT-2's kind keep their weights the other way round. Nothing in a
 * checkpoint says so but a matrix of the adapter that fits only thus; if all
 * are square, the type of the model does.
 */
static bool is_turned(const struct adapt *adapt,
		      const struct adapt_module *module)
{
	AUTO_FREE char *name = NULL;
	const struct tensor *a = module->a, *b = module->b;
	if (!a || !b || module->embedding ||
	    asprintf(&name, "%s.weight", module->name) < 0)
		return false;

	const struct adapt_entry *entry = adapt_find(adapt, name);
	if (!entry)
		return false;
	const struct tensor *weight = adapt_tensor(adapt, entry);
	return weight->shape.rank == 2 && a->shape.rank == 2 &&
	       b->shape.rank == 2 &&
	       weight->shape.dims[0] != weight->shape.dims[1] &&
	       weight->shape.dims[0] == a->shape.dims[1] &&
	       weight->shape.dims[1] == b->shape.dims[0];
}

static bool find_turned(const struct adapt *adapt)
{
	static const char *const types[] = {"gpt2", "openai-gpt", "imagegpt",
					    "decision_transformer", "ctrl"};
	const cJSON *type = json_at(adapt->terms.base->config, "model_type");

	for (size_t i = 0; cJSON_IsString(type) && i < ARRAY_SIZE(types); i++) {
		if (strcmp(type->valuestring, types[i]) == 0)
			return true;
	}
	for (size_t i = 0; i < adapt->n_modules; i++) {
		if (is_turned(adapt, &adapt->modules[i]))
			return true;
	}
	return false;
}

static bool keeps_turned(struct adapt *adapt)
{
	if (!adapt->turned)
		adapt->turned = find_turned(adapt) ? 1 : -1;
	return adapt->turned > 0;
}

static int check_shape(struct adapt *adapt, const struct adapt_module *module,
		       const struct tensor *weight, bool *ret_transposed)
{
	uint64_t in = module->a->shape.dims[1], out = module->b->shape.dims[0];
	const uint64_t *dims = weight->shape.dims;
	bool straight = dims[0] == out && dims[1] == in;
	bool turned = dims[0] == in && dims[1] == out;

	if (weight->shape.rank != 2 || (!straight && !turned) ||
	    (module->embedding && !turned))
		return adapt_wrong_shape(adapt, module, weight);
	*ret_transposed =
		module->embedding || !straight ||
		(turned && !arch_is_head(weight->name) && keeps_turned(adapt));
	return 0;
}

/* DoRA's lengths of n rows or columns. */
static int find_lengths(struct adapt *adapt, const struct adapt_module *module,
			uint64_t n, struct factor **ret)
{
	const struct tensor *lengths = module->lengths;
	char shape[192];

	*ret = NULL;
	if (adapt->config->dora != (lengths != NULL))
		return error_set(adapt->err, -EINVAL,
				 lengths ? "%s: %s has a lora_magnitude_vector "
					   "though use_dora is not set"
					 : "%s: %s has no "
					   "lora_magnitude_vector though "
					   "use_dora is set",
				 adapt->config->path, module->name);
	if (!lengths)
		return 0;
	if (lengths->count != n)
		return error_set(adapt->err, -EINVAL,
				 "%s: %s is %s, should be [%" PRIu64 "]",
				 adapt->config->path, lengths->name,
				 shape_format(&lengths->shape, shape), n);
	struct factor_view view = {
		.tensor = lengths,
		.sizes = {1, n, 1},
		.axes = {FACTOR_BATCH, FACTOR_ROW, FACTOR_COLUMN},
	};
	return adapt_factor(adapt, &view, ret);
}

/* One of experts, or one that is listed; gates of experts are. */
static bool is_parameter(const struct adapt *adapt,
			 const struct adapt_module *module)
{
	char name[512];

	snprintf(name, sizeof(name), "%s.weight", module->name);
	return adapt_is_expert(module->name) ||
	       adapter_lists(adapt->config, "target_parameters", name);
}

int adapt_matrix(struct adapt *adapt, const struct adapt_module *module,
		 struct adapt_entry *entry)
{
	const struct tensor *weight = adapt_tensor(adapt, entry);
	struct factor *lengths = NULL;
	uint64_t rank = 0;
	bool transposed = false;

	int r = adapt_check_rank(adapt, module, module->name, 1, &rank);
	if (r == 0)
		r = check_shape(adapt, module, weight, &transposed);
	if (r < 0)
		return r;
	struct lora_patch patch = {
		.n_rows = weight->shape.dims[0],
		.n_columns = weight->shape.dims[1],
		.rank = (unsigned)rank,
		.scale = (float)adapter_scale(adapt->config, module->name),
	};
	r = find_lengths(adapt, module, module->b->shape.dims[0], &lengths);
	if (r == 0)
		r = adapt_factors(adapt, module, transposed, &patch);
	if (r < 0)
		return r;
	/* As PEFT does for embeddings and parameters, but not with DoRA. */
	entry->rounds_twice =
		!lengths && (module->embedding || is_parameter(adapt, module));
	r = adapt_add(adapt, entry, &patch);
	return r < 0 ? r : adapt_flush(adapt, entry, lengths, transposed);
}

/* lora_B.bias: the same scale, no lora_A. */
static int adapt_bias(struct adapt *adapt, const struct adapt_module *module)
{
	const struct tensor *bias = module->bias;
	AUTO_FREE char *name = NULL;
	char a[192], b[192];
	if (asprintf(&name, "%s.bias", module->name) < 0)
		return adapt_no_memory(adapt);

	struct adapt_entry *entry = adapt_find(adapt, name);
	if (!entry)
		return error_set(adapt->err, -EINVAL,
				 "%s: %s is for a bias, but %s has no %s",
				 adapt->config->path, bias->name,
				 adapt->terms.base->label, name);
	const struct tensor *tensor = adapt_tensor(adapt, entry);
	if (!shape_equal(&tensor->shape, &bias->shape) || bias->shape.rank != 1)
		return error_set(adapt->err, -EINVAL,
				 "%s: %s is %s, but %s is %s in %s",
				 adapt->config->path, bias->name,
				 shape_format(&bias->shape, a), tensor->name,
				 shape_format(&tensor->shape, b),
				 adapt->terms.base->label);

	struct factor_view one = {
		.sizes = {1, 1, 1},
		.axes = {FACTOR_BATCH, FACTOR_ROW, FACTOR_COLUMN},
	};
	struct factor_view row = {
		.tensor = bias,
		.sizes = {1, 1, bias->count},
		.axes = {FACTOR_BATCH, FACTOR_ROW, FACTOR_COLUMN},
		.panels = true,
	};
	struct lora_patch patch = {
		.n_rows = 1,
		.n_columns = bias->count,
		.rank = 1,
		.scale = (float)adapter_scale(adapt->config, module->name),
	};
	int r = adapt_factor(adapt, &one, &patch.left);
	if (r == 0)
		r = adapt_factor(adapt, &row, &patch.right);
	return r < 0 ? r : adapt_add(adapt, entry, &patch);
}

/* The rows that trainable_token_indices names for a module, or NULL. */
static const cJSON *token_list(const struct adapt *adapt, const char *module)
{
	const cJSON *item, *indices = json_at(adapt->config->config,
					      "trainable_token_indices");
	const char *last = strrchr(module, '.');
	if (!cJSON_IsObject(indices))
		return indices;

	cJSON_ArrayForEach(item, indices)
	{
		if (strcmp(item->string, last ? last + 1 : module) == 0 ||
		    strcmp(item->string, module) == 0)
			return item;
	}
	return NULL;
}

static int adapt_tokens(struct adapt *adapt, const struct adapt_module *module,
			struct adapt_entry *entry)
{
	const struct tensor *rows = module->tokens;
	const struct tensor *weight = adapt_tensor(adapt, entry);
	const cJSON *item, *list = token_list(adapt, module->name);
	char a[192], b[192];
	uint64_t i = 0, n = cJSON_IsArray(list)
				    ? (uint64_t)cJSON_GetArraySize(list)
				    : 0;
	if (rows->shape.rank != 2 || weight->shape.rank != 2 ||
	    rows->shape.dims[0] != n ||
	    rows->shape.dims[1] != weight->shape.dims[1])
		return error_set(adapt->err, -EINVAL,
				 "%s: %s is %s, but trainable_token_indices "
				 "has %" PRIu64 " tokens and %s is %s",
				 adapt->config->path, rows->name,
				 shape_format(&rows->shape, a), n, weight->name,
				 shape_format(&weight->shape, b));

	struct factor_view view = {
		.tensor = rows,
		.sizes = {1, n, rows->shape.dims[1]},
		.axes = {FACTOR_BATCH, FACTOR_ROW, FACTOR_COLUMN},
	};
	struct lora_patch patch = {
		.n_rows = 1,
		.n_columns = rows->shape.dims[1],
	};
	int r = adapt_factor(adapt, &view, &patch.left);
	cJSON_ArrayForEach(item, list)
	{
		if (r < 0)
			return r;
		if (!json_u64(item, &patch.row) ||
		    patch.row >= weight->shape.dims[0])
			return error_set(adapt->err, -EINVAL,
					 "%s: trainable_token_indices has a "
					 "token that %s %s has no row for",
					 adapt->config->path, weight->name,
					 shape_format(&weight->shape, b));
		patch.left_row = i++;
		r = adapt_add(adapt, entry, &patch);
	}
	return r < 0 ? r : adapt_flush(adapt, entry, NULL, false);
}

/* The embedding of a base whose head is the same matrix. */
static struct adapt_entry *find_shared(const struct adapt *adapt)
{
	const struct source *source = adapt->source;

	for (size_t i = 0; i < source->n_tensors; i++) {
		if (arch_is_embedding(source->tensors[i].name))
			return &adapt->entries[i];
	}
	return NULL;
}

static int check_pair(const struct adapt *adapt,
		      const struct adapt_module *module)
{
	bool any = module->a || module->b || module->bias || module->lengths;
	if (!any || (module->a && module->b))
		return 0;
	return error_set(adapt->err, -EINVAL, "%s: %s has no lora_%s",
			 adapt->config->path, module->name,
			 module->a ? "B" : "A");
}

static int adapt_weight(struct adapt *adapt, struct adapt_module *module,
			struct adapt_entry *entry)
{
	int r = 0;

	if (module->tokens && module->a)
		return error_set(
			adapt->err, -EINVAL,
			"%s has both trainable tokens and LoRA for %s, "
			"which PEFT refuses to make",
			adapt->terms.adapter->label, module->name);
	module->used = true;
	if (module->tokens)
		r = adapt_tokens(adapt, module, entry);
	if (r == 0 && module->a)
		r = adapt_matrix(adapt, module, entry);
	if (r == 0 && module->bias)
		r = adapt_bias(adapt, module);
	return r;
}

int adapt_module(struct adapt *adapt, struct adapt_module *module)
{
	AUTO_FREE char *name = NULL;
	int r = check_pair(adapt, module);
	if (r < 0)
		return r;
	if (asprintf(&name, "%s.weight", module->name) < 0)
		return adapt_no_memory(adapt);

	struct adapt_entry *entry = NULL;
	if (module->depth == 0)
		entry = adapt_find(adapt, name);
	if (!entry && arch_is_head(name) && adapt->base_ties)
		entry = find_shared(adapt);
	if (entry)
		return adapt_weight(adapt, module, entry);
	return module->a ? adapt_experts(adapt, module) : 0;
}
