#include "merge/output/config_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/source/source.h"
#include "util/json.h"

/* Where the language model of a checkpoint may be described. */
static const char *const text_objects[] = {
	"",
	"text_config",
	"llm_config",
	"language_config",
	"thinker_config.text_config",
};

/* Names of one and the same count. */
static const char *const twins[] = {
	"num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_layer",
};

/* Counts of the dense layers that precede the sparse ones. */
static const char *const dense_counts[] = {
	"first_k_dense_replace",
	"num_dense_layers",
};

/* Every so many layers are of another kind, unless a list says which. */
static const struct {
	const char *key, *list;
} periods[] = {
	{"sliding_window_pattern", "layer_types"},
	{"_sliding_window_pattern", "layer_types"},
	{"full_attention_interval", "layer_types"},
	{"attn_layer_period", "layers_block_type"},
	{"interleave_moe_layer_step", "moe_layers"},
	{"no_rope_layer_interval", "no_rope_layers"},
	{"expert_layer_period", NULL},
	{"decoder_sparse_step", NULL},
	{"moe_layer_freq", NULL},
	{"moe_layer_interval", NULL},
	{"global_attn_every_n_layers", NULL},
	{"dense_attention_every_n_layers", NULL},
};

/* Members that name layers in ways that are not followed. */
static const char *const strangers[] = {
	"num_kv_shared_layers",
	"moe_layer_start_index",
	"moe_layer_end_index",
	"linear_attn_config",
};

static bool is_one_of(const char *key, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(key, words[i]) == 0)
			return true;
	}
	return false;
}

static bool member_is(const cJSON *object, const char *key, uint64_t wanted)
{
	uint64_t value;

	return json_u64(config_member(object, key), &value) && value == wanted;
}

const cJSON *scope_object_of(const struct scope *scope,
			     const struct source *source)
{
	const cJSON *object = config_object(source->config, scope->path);

	if (object && config_member(object, scope->counter))
		return object;
	if (!is_one_of(scope->path, text_objects, ARRAY_SIZE(text_objects)))
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(text_objects); i++) {
		object = config_object(source->config, text_objects[i]);
		if (object && config_member(object, scope->counter))
			return object;
	}
	return NULL;
}

/* Is layer i of the output layer i of its origin, and are there as many? */
static bool is_same_stack(const struct layer_count *depth)
{
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		if (depth->layers[i].layer != i)
			return false;
	}
	return depth->n_layers == depth->donor_layers;
}

static int edit_count(const struct scope *scope, const char *key,
		      uint64_t count)
{
	char value[24];

	snprintf(value, sizeof(value), "%" PRIu64, count);
	return config_set(scope->edit, scope->path, key, value);
}

/* Is the path the key of another module's count? */
static bool counts_another(const struct scope *scope, const char *path)
{
	const struct plan *plan = scope->edit->plan;

	for (size_t i = 0; i < plan->n_depths; i++) {
		const struct layer_count *depth = &plan->depths[i];
		if (depth != scope->depth && depth->key &&
		    strcmp(depth->key, path) == 0)
			return true;
	}
	return false;
}

/* Other names of the same count, where they say the same. */
static int edit_twins(const struct scope *scope)
{
	const struct layer_count *depth = scope->depth;
	int r = 0;

	if (!is_one_of(scope->counter, twins, ARRAY_SIZE(twins)) &&
	    strcmp(scope->counter, "encoder_layers") != 0)
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(twins); i++) {
		AUTO_FREE char *path = config_path(scope->path, twins[i]);
		if (!path)
			return -ENOMEM;
		if (!counts_another(scope, path) &&
		    member_is(scope->object, twins[i], depth->donor_layers))
			r = edit_count(scope, twins[i], depth->n_layers);
	}
	return r;
}

/* Is an output layer one of its origin's leading dense layers? */
static bool is_dense(const struct scope *scope, const char *key,
		     const struct layer_origin *origin)
{
	const cJSON *object = scope_object_of(scope, origin->source);
	uint64_t count = 0;

	if (!object || !json_u64(config_member(object, key), &count))
		json_u64(config_member(scope->object, key), &count);
	return origin->layer < count;
}

static int edit_dense(const struct scope *scope, const char *key)
{
	const struct layer_count *depth = scope->depth;
	uint64_t leading = 0, all = 0, old;

	if (!json_u64(config_member(scope->object, key), &old))
		return 0;
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		if (!is_dense(scope, key, &depth->layers[i]))
			continue;
		leading += leading == i;
		all++;
	}
	int r = edit_count(scope, key, leading);
	if (r < 0 || leading == all ||
	    config_member(scope->object, "mlp_layer_types"))
		return r;
	return notes_add(scope->edit->notes,
			 "config.json: %s cannot say that dense layers lie "
			 "behind sparse ones in the output",
			 key);
}

/* Is every output layer at a place of the same phase as it was? */
static bool keeps_phase(const struct layer_count *depth, uint64_t period)
{
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		if (depth->layers[i].layer % period != i % period)
			return false;
	}
	return true;
}

static int note_periods(const struct scope *scope)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(periods); i++) {
		const char *key = periods[i].key, *list = periods[i].list;
		uint64_t period;

		if (!json_u64(config_member(scope->object, key), &period) ||
		    period < 2 || keeps_phase(scope->depth, period))
			continue;
		if (list && cJSON_IsArray(config_member(scope->object, list)))
			continue;
		r = notes_add(scope->edit->notes,
			      "config.json: by %s every layer in %" PRIu64
			      " is of another kind, and some layers of the "
			      "output are not where their kind is expected",
			      key, period);
	}
	return r;
}

static int note_left(const struct scope *scope, const char *key)
{
	return notes_add(scope->edit->notes,
			 "config.json: %s speaks of layers by number and is "
			 "left as the donor's",
			 key);
}

static int note_strangers(const struct scope *scope)
{
	const cJSON *object = scope->object;
	int r = 0;

	if (cJSON_IsTrue(config_member(object, "use_sliding_window")) &&
	    cJSON_IsNumber(config_member(object, "sliding_window")) &&
	    cJSON_IsNumber(config_member(object, "max_window_layers")) &&
	    !cJSON_IsArray(config_member(object, "layer_types")))
		r = note_left(scope, "max_window_layers");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(strangers); i++) {
		const cJSON *item = config_member(object, strangers[i]);
		if (item && !cJSON_IsNull(item) &&
		    !member_is(object, strangers[i], 0))
			r = note_left(scope, strangers[i]);
	}
	return r;
}

static int edit_scope(const struct scope *scope)
{
	const struct layer_count *depth = scope->depth;
	const cJSON *item;

	int r = edit_count(scope, scope->counter, depth->n_layers);
	if (r == 0)
		r = edit_twins(scope);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(dense_counts); i++)
		r = edit_dense(scope, dense_counts[i]);
	cJSON_ArrayForEach(item, scope->object)
	{
		if (r == 0 && depth->donor_layers > 0)
			r = scope_edit_list(scope, item);
	}
	if (r < 0 || is_same_stack(depth))
		return r;
	r = note_periods(scope);
	return r < 0 ? r : note_strangers(scope);
}

/* Some files describe the language model at the top and in a part again. */
static int edit_copies(const struct scope *scope)
{
	int r = 0;

	if (!is_one_of(scope->path, text_objects, ARRAY_SIZE(text_objects)))
		return 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(text_objects); i++) {
		struct scope copy = *scope;
		copy.path = text_objects[i];
		copy.object = config_object(scope->edit->config, copy.path);
		AUTO_FREE char *path = config_path(copy.path, copy.counter);
		if (!path)
			return -ENOMEM;
		if (strcmp(copy.path, scope->path) != 0 &&
		    !counts_another(scope, path) &&
		    member_is(copy.object, copy.counter,
			      scope->depth->donor_layers))
			r = edit_scope(&copy);
	}
	return r;
}

int config_edit_layers(struct config_edit *edit,
		       const struct layer_count *depth)
{
	if (!depth->key)
		return notes_add(edit->notes,
				 "config.json: no key is known to count the "
				 "layers; the output has %" PRIu64,
				 depth->n_layers);

	AUTO_FREE char *path = strdup(depth->key);
	if (!path)
		return -ENOMEM;
	char *dot = strrchr(path, '.');
	if (dot)
		*dot = '\0';
	struct scope scope = {
		.edit = edit,
		.depth = depth,
		.path = dot ? path : "",
		.counter = depth->key + (dot ? dot + 1 - path : 0),
	};
	scope.object = config_object(edit->config, scope.path);
	if (!scope.object)
		return -ENOENT;
	int r = edit_scope(&scope);
	return r < 0 ? r : edit_copies(&scope);
}
