/*
 * Adapters of experts. Models hold the experts of a layer as one tensor for
 * all (E, out, in), or as a matrix each; adapters speak of either; and either
 * may be on disk. Names differ, too: `experts.gate_up_proj` is the rows of
 * `experts.N.w1` and then those of `experts.N.w3`.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/adapt.h"
#include "merge/engine/factor.h"
#include "merge/source/adapter.h"
#include "merge/source/source.h"
#include "util/json.h"

/* A parameter for all experts, and the matrices that are its rows. */
struct fused {
	const char *name;
	unsigned n_parts;
	const char *parts[2][2]; /* each in two spellings */
};

/* In the order in which models register them, and so adapters nest. */
static const struct fused fused_all[] = {
	{"gate_up_proj", 2, {{"gate_proj", "w1"}, {"up_proj", "w3"}}},
	{"gate_proj", 1, {{"gate_proj", "w1"}}},
	{"up_proj", 1, {{"up_proj", "w3"}}},
	{"down_proj", 1, {{"down_proj", "w2"}}},
};

/* What the block of experts is called. */
static const char *const blocks[] = {"mlp", "block_sparse_moe", "feed_forward",
				     "ffn", "moe"};

static const char experts[] = ".experts";

/* The experts part of a name: "a.mlp.experts.3.w1" -> ".experts.3.w1". */
static const char *experts_at(const char *name)
{
	for (const char *at = strstr(name, experts); at;
	     at = strstr(at + 1, experts)) {
		char next = at[sizeof(experts) - 1];
		if (!next || next == '.')
			return at;
	}
	return NULL;
}

/* The number behind it, and what follows; NULL if there is none. */
static const char *expert_number(const char *name, uint64_t *ret)
{
	const char *at = experts_at(name);
	char *end;
	if (!at || at[sizeof(experts) - 1] != '.' ||
	    !isdigit((unsigned char)at[sizeof(experts)]))
		return NULL;
	*ret = strtoull(at + sizeof(experts), &end, 10);
	return *end == '.' ? end + 1 : NULL;
}

bool adapt_is_expert(const char *name)
{
	uint64_t number;

	return expert_number(name, &number) != NULL;
}

/*
 * The entry "PREFIX.BLOCK.experts" + rest for the block that `name` is in, be
 * it called what it may; NULL if there is none.
 */
static struct adapt_entry *find_in_block(const struct adapt *adapt,
					 const char *name, const char *rest)
{
	const char *at = experts_at(name), *block = at;
	if (!at)
		return NULL;
	while (block > name && block[-1] != '.')
		block--;

	struct adapt_entry *found = NULL;
	for (size_t i = 0; !found && i <= ARRAY_SIZE(blocks); i++) {
		AUTO_FREE char *other = NULL;
		int r = i == 0 ? asprintf(&other, "%.*s%s%s", (int)(at - name),
					  name, experts, rest)
			       : asprintf(&other, "%.*s%s%s%s",
					  (int)(block - name), name,
					  blocks[i - 1], experts, rest);
		if (r < 0)
			return NULL;
		found = adapt_find(adapt, other);
	}
	return found;
}

/* Only a block of experts has a gate that is a module of itself. */
struct adapt_entry *adapt_find_gate(const struct adapt *adapt, const char *name)
{
	static const char gate[] = ".gate.weight";
	size_t length = strlen(name), end = length - (sizeof(gate) - 1);
	struct adapt_entry *found = NULL;
	if (length < sizeof(gate) || strcmp(name + end, gate) != 0)
		return NULL;

	size_t block = end;
	while (block > 0 && name[block - 1] != '.')
		block--;
	for (size_t i = 0; !found && i < ARRAY_SIZE(blocks); i++) {
		AUTO_FREE char *other = NULL;
		if (asprintf(&other, "%.*s%s%s", (int)block, name, blocks[i],
			     gate) < 0)
			return NULL;
		found = adapt_find_spelled(adapt, other);
	}
	return found;
}

static struct adapt_entry *find_expert(const struct adapt *adapt,
				       const char *name, uint64_t number,
				       const char *const *spellings)
{
	for (unsigned i = 0; i < 2; i++) {
		char rest[64];
		snprintf(rest, sizeof(rest), ".%llu.%s.weight",
			 (unsigned long long)number, spellings[i]);
		struct adapt_entry *entry = find_in_block(adapt, name, rest);
		if (entry)
			return entry;
	}
	return NULL;
}

/* Parameters of all experts. */

static unsigned count_levels(const struct adapt *adapt, const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; i < adapt->n_modules; i++)
		n += strcmp(adapt->modules[i].name, name) == 0;
	return n;
}

/* Which of target_parameters a module's matrices are for: the innermost is the
 * one registered first. NULL if that cannot be told. */
static const struct fused *find_parameter(const struct adapt *adapt,
					  const struct adapt_module *module)
{
	unsigned n = 0, levels = count_levels(adapt, module->name);
	const struct fused *found[ARRAY_SIZE(fused_all)];

	for (size_t i = 0; i < ARRAY_SIZE(fused_all); i++) {
		AUTO_FREE char *name = NULL;
		if (asprintf(&name, "%s.%s", module->name, fused_all[i].name) <
		    0)
			return NULL;
		if (adapter_lists(adapt->config, "target_parameters", name))
			found[n++] = &fused_all[i];
	}
	return n == levels && module->depth < n ? found[n - 1 - module->depth]
						: NULL;
}

/* The matrices of all experts, as a batch. */
static int add_batch(struct adapt *adapt, const struct adapt_module *module,
		     uint64_t n_experts, uint64_t rank, bool transposed,
		     struct lora_patch *patch)
{
	const struct tensor *a = module->a, *b = module->b;
	enum factor_axis row = transposed ? FACTOR_COLUMN : FACTOR_ROW;
	enum factor_axis column = transposed ? FACTOR_ROW : FACTOR_COLUMN;
	/* Experts are the slowest index of A and the fastest of B. */
	struct factor_view of_a = {
		.tensor = a,
		.sizes = {n_experts, rank, a->shape.dims[1]},
		.axes = {FACTOR_BATCH, row, column},
		.panels = !transposed,
	};
	struct factor_view of_b = {
		.tensor = b,
		.sizes = {b->shape.dims[0], rank, n_experts},
		.axes = {row, column, FACTOR_BATCH},
		.panels = transposed,
	};

	int r = adapt_factor(adapt, transposed ? &of_a : &of_b, &patch->left);
	return r < 0 ? r
		     : adapt_factor(adapt, transposed ? &of_b : &of_a,
				    &patch->right);
}

static bool is_interleaved(const struct adapt *adapt)
{
	const cJSON *type = json_at(adapt->terms.base->config, "model_type");

	return cJSON_IsString(type) &&
	       strcmp(type->valuestring, "gpt_oss") == 0;
}

/* Onto one tensor (E, out, in), or (E, in, out). */
static int adapt_fused(struct adapt *adapt, const struct adapt_module *module,
		       const char *name, struct adapt_entry *entry)
{
	const struct tensor *weight = adapt_tensor(adapt, entry);
	const struct shape *shape = &weight->shape;
	uint64_t in = module->a->shape.dims[1], out = module->b->shape.dims[0];
	uint64_t rank, n = shape->rank == 3 ? shape->dims[0] : 1;

	int r = adapt_check_rank(adapt, module, name, n, &rank);
	if (r < 0)
		return r;
	if (shape->rank < 2 || shape->rank > 3)
		return adapt_wrong_shape(adapt, module, weight);
	const uint64_t *dims = shape->dims + shape->rank - 2;
	bool straight = dims[0] == out && dims[1] == in;
	bool turned = dims[0] == in && dims[1] == out && shape->rank == 3;
	if (!straight && !turned)
		return adapt_wrong_shape(adapt, module, weight);
	bool transposed = turned && (!straight || is_interleaved(adapt));

	struct lora_patch patch = {
		.n_rows = dims[0],
		.n_columns = dims[1],
		.rank = (unsigned)rank,
		.scale = (float)adapter_scale(adapt->config, name),
	};
	r = add_batch(adapt, module, n, rank, transposed, &patch);
	entry->rounds_twice = true;
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		patch.row = patch.left_row = i * dims[0];
		patch.right_batch = i;
		r = adapt_add(adapt, entry, &patch);
	}
	return r < 0 ? r : adapt_flush(adapt, entry, NULL, false);
}

/* Rows [first, ...) of each expert's part of the sum onto its own matrix. */
static int adapt_part(struct adapt *adapt, const struct adapt_module *module,
		      const struct lora_patch *batch, uint64_t n,
		      const char *const *spellings, uint64_t first)
{
	uint64_t in = module->a->shape.dims[1], out = module->b->shape.dims[0];

	for (uint64_t i = 0; i < n; i++) {
		struct adapt_entry *entry =
			find_expert(adapt, module->name, i, spellings);
		const struct tensor *weight =
			entry ? adapt_tensor(adapt, entry) : NULL;
		if (!weight)
			return error_set(adapt->err, -EINVAL,
					 "%s: expert %llu of %s is not in %s",
					 adapt->config->path,
					 (unsigned long long)i, module->name,
					 adapt->terms.base->label);
		if (weight->shape.rank != 2 || weight->shape.dims[1] != in ||
		    weight->shape.dims[0] != batch->n_rows)
			return adapt_wrong_shape(adapt, module, weight);
		struct lora_patch patch = *batch;
		patch.left_row = i * out + first;
		patch.right_batch = i;
		entry->rounds_twice = true;
		int r = adapt_add(adapt, entry, &patch);
		if (r == 0)
			r = adapt_flush(adapt, entry, NULL, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static int adapt_parts(struct adapt *adapt, const struct adapt_module *module,
		       const char *name, const struct fused *fused)
{
	uint64_t n = 0, rank, out = module->b->shape.dims[0];
	while (find_expert(adapt, module->name, n, fused->parts[0]))
		n++;
	int r = adapt_check_rank(adapt, module, name, n, &rank);
	if (r < 0)
		return r;

	struct lora_patch batch = {
		.n_rows = out / fused->n_parts,
		.n_columns = module->a->shape.dims[1],
		.rank = (unsigned)rank,
		.scale = (float)adapter_scale(adapt->config, name),
	};
	r = add_batch(adapt, module, n, rank, false, &batch);
	for (unsigned i = 0; r == 0 && i < fused->n_parts; i++)
		r = adapt_part(adapt, module, &batch, n, fused->parts[i],
			       i * batch.n_rows);
	return r;
}

static int adapt_parameter(struct adapt *adapt, struct adapt_module *module)
{
	const struct fused *fused = find_parameter(adapt, module);
	AUTO_FREE char *name = NULL;
	char rest[64];
	if (!fused)
		return 0;
	if (asprintf(&name, "%s.%s", module->name, fused->name) < 0)
		return adapt_no_memory(adapt);

	snprintf(rest, sizeof(rest), ".%s", fused->name);
	struct adapt_entry *entry = find_in_block(adapt, name, rest);
	if (entry) {
		module->used = true;
		return adapt_fused(adapt, module, name, entry);
	}
	if (!find_expert(adapt, module->name, 0, fused->parts[0]))
		return 0;
	module->used = true;
	return adapt_parts(adapt, module, name, fused);
}

/* Matrices of one expert. */

static bool is_spelled(const char *const *spellings, const char *name)
{
	return strcmp(spellings[0], name) == 0 ||
	       strcmp(spellings[1], name) == 0;
}

/* Part `part` of an expert's rows (or, turned, columns) of a tensor for all. */
static int adapt_slab(struct adapt *adapt, const struct adapt_module *module,
		      uint64_t number, const struct fused *fused, unsigned part,
		      struct adapt_entry *entry)
{
	const struct tensor *weight = adapt_tensor(adapt, entry);
	const uint64_t *dims = weight->shape.dims;
	uint64_t in = module->a->shape.dims[1], out = module->b->shape.dims[0];
	uint64_t rank, all = out * fused->n_parts;

	int r = adapt_check_rank(adapt, module, module->name, 1, &rank);
	if (r < 0)
		return r;
	bool straight =
		weight->shape.rank == 3 && dims[1] == all && dims[2] == in;
	bool turned =
		weight->shape.rank == 3 && dims[1] == in && dims[2] == all;
	if ((!straight && !turned) || number >= dims[0])
		return adapt_wrong_shape(adapt, module, weight);

	struct lora_patch patch = {
		.row = number * dims[1] + (straight ? part * out : 0),
		.n_rows = straight ? out : in,
		.column = straight ? 0 : part * out,
		.n_columns = straight ? in : out,
		.rank = (unsigned)rank,
		.scale = (float)adapter_scale(adapt->config, module->name),
	};
	r = adapt_factors(adapt, module, !straight, &patch);
	entry->rounds_twice = true;
	return r < 0 ? r : adapt_add(adapt, entry, &patch);
}

static int adapt_one(struct adapt *adapt, struct adapt_module *module,
		     uint64_t number, const struct fused *fused, unsigned part)
{
	char rest[64];
	snprintf(rest, sizeof(rest), ".%s", fused->name);
	struct adapt_entry *own =
		find_expert(adapt, module->name, number, fused->parts[part]);
	struct adapt_entry *all = find_in_block(adapt, module->name, rest);

	module->used = own || (all && !is_interleaved(adapt));
	if (own)
		return adapt_matrix(adapt, module, own);
	return module->used
		       ? adapt_slab(adapt, module, number, fused, part, all)
		       : 0;
}

static int adapt_single(struct adapt *adapt, struct adapt_module *module)
{
	uint64_t number = 0;
	const char *name = expert_number(module->name, &number);

	for (size_t i = 0; !module->used && i < ARRAY_SIZE(fused_all); i++) {
		const struct fused *fused = &fused_all[i];
		for (unsigned j = 0; j < fused->n_parts; j++) {
			if (!is_spelled(fused->parts[j], name))
				continue;
			int r = adapt_one(adapt, module, number, fused, j);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

int adapt_experts(struct adapt *adapt, struct adapt_module *module)
{
	if (module->bias || module->lengths || module->embedding ||
	    !experts_at(module->name))
		return 0;
	return adapt_is_expert(module->name) ? adapt_single(adapt, module)
					     : adapt_parameter(adapt, module);
}
