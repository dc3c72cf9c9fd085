#include "merge/source/adapter.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "merge/source/pattern.h"

#define MAX_RUNS 10000

static const cJSON *member(const cJSON *config, const char *key)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(config, key);

	return item && !cJSON_IsNull(item) ? item : NULL;
}

static bool is_set(const cJSON *config, const char *key)
{
	const cJSON *item = member(config, key);

	return item && !cJSON_IsFalse(item) &&
	       !((cJSON_IsObject(item) || cJSON_IsArray(item)) && !item->child);
}

static int wrong(const struct adapter *adapter, const char *key,
		 const char *should, struct error *err)
{
	return error_set(err, -EINVAL, "%s: %s must be %s", adapter->path, key,
			 should);
}

static int check_type(const struct adapter *adapter, struct error *err)
{
	const cJSON *type = member(adapter->config, "peft_type");

	if (!cJSON_IsString(type))
		return wrong(adapter, "peft_type", "a string, LORA", err);
	if (strcmp(type->valuestring, "LORA") == 0)
		return 0;
	return error_set(err, -EINVAL,
			 "%s: adapters of type %s are not supported, only LORA "
			 "(which includes rsLoRA and DoRA); merge it with PEFT "
			 "first",
			 adapter->path, type->valuestring);
}

static int check_variants(const struct adapter *adapter, struct error *err)
{
	static const struct {
		const char *key, *why;
	} variants[] = {
		{"alora_invocation_tokens",
		 "it acts only behind certain tokens and cannot be part of "
		 "weights"},
		{"arrow_config", "it routes between adapters"},
		{"use_qalora", "QALoRA is not supported"},
		{"use_bdlora", "BD-LoRA is not supported"},
		{"kasa_config", "KaSA is not supported"},
		{"monteclora_config", "MonteCLoRA is not supported"},
		{"velora_config", "VeLoRA is not supported"},
		{"megatron_config", "Megatron layers are not supported"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		if (is_set(adapter->config, variants[i].key))
			return error_set(err, -EINVAL, "%s: %s: %s",
					 adapter->path, variants[i].key,
					 variants[i].why);
	}
	return 0;
}

/* Starts that change the base, too: the adapter fits only the changed one. */
static int check_start(const struct adapter *adapter, struct error *err)
{
	static const char *const others[] = {"pissa", "olora", "corda",
					     "loftq", "mica",  "lora_ga",
					     "loraga"};
	const cJSON *start = member(adapter->config, "init_lora_weights");

	for (size_t i = 0; cJSON_IsString(start) && i < ARRAY_SIZE(others);
	     i++) {
		if (strncasecmp(start->valuestring, others[i],
				strlen(others[i])) == 0)
			return error_set(
				err, -EINVAL,
				"%s: init_lora_weights '%s' has changed the "
				"base's weights in training; convert the "
				"adapter with PEFT (save_pretrained with "
				"path_initial_model_for_weight_conversion)",
				adapter->path, start->valuestring);
	}
	return 0;
}

static int read_flag(const struct adapter *adapter, const char *key, bool *ret,
		     struct error *err)
{
	const cJSON *item = member(adapter->config, key);

	if (item && !cJSON_IsBool(item))
		return wrong(adapter, key, "true or false", err);
	*ret = cJSON_IsTrue(item);
	return 0;
}

static int read_number(const struct adapter *adapter, const char *key,
		       const cJSON *item, bool is_rank, double *ret,
		       struct error *err)
{
	double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;

	if (!isfinite(value) || fabs(value) > 1e30)
		return wrong(adapter, key, "a number", err);
	if (is_rank &&
	    (value < 1 || value > ADAPTER_MAX_RANK || value != floor(value)))
		return wrong(adapter, key, "a rank from 1 to 65536", err);
	*ret = value;
	return 0;
}

static int read_rules(const struct adapter *adapter, const char *key,
		      const char *list, struct adapter_rules *rules,
		      struct error *err)
{
	bool is_rank = rules == &adapter->ranks;
	const cJSON *single = member(adapter->config, key);
	const cJSON *object = member(adapter->config, list), *item;
	rules->otherwise = 8;
	int r = single ? read_number(adapter, key, single, is_rank,
				     &rules->otherwise, err)
		       : 0;
	if (r < 0 || !object)
		return r;
	if (!cJSON_IsObject(object))
		return wrong(adapter, list, "a map of names to numbers", err);

	size_t n = (size_t)cJSON_GetArraySize(object);
	rules->items = calloc(n + 1, sizeof(*rules->items));
	if (!rules->items)
		return error_set(err, -ENOMEM, "out of memory");
	cJSON_ArrayForEach(item, object)
	{
		struct adapter_rule *rule = &rules->items[rules->n++];
		r = pattern_new(item->string, &rule->pattern, err);
		if (r < 0)
			return error_prefix(err, r, "%s: %s '%s'",
					    adapter->path, list, item->string);
		r = read_number(adapter, list, item, is_rank, &rule->value,
				err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_run(const cJSON *item, struct adapter_run *run)
{
	if (cJSON_GetArraySize(item) != 2 ||
	    !json_u64(cJSON_GetArrayItem(item, 0), &run->first) ||
	    !json_u64(cJSON_GetArrayItem(item, 1), &run->end) ||
	    run->first >= run->end)
		return -EINVAL;
	return 0;
}

static int read_runs(struct adapter *adapter, struct error *err)
{
	static const char key[] = "layer_replication";
	const cJSON *list = member(adapter->config, key), *item;
	if (!list)
		return 0;
	if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > MAX_RUNS)
		return wrong(adapter, key, "a list of [first, end]", err);

	size_t n = (size_t)cJSON_GetArraySize(list);
	adapter->runs = calloc(n + 1, sizeof(*adapter->runs));
	if (!adapter->runs)
		return error_set(err, -ENOMEM, "out of memory");
	cJSON_ArrayForEach(item, list)
	{
		if (!cJSON_IsArray(item) ||
		    read_run(item, &adapter->runs[adapter->n_runs++]) < 0)
			return wrong(adapter, key,
				     "a list of [first, end], first below end",
				     err);
	}
	return 0;
}

static int read_targets(struct adapter *adapter, struct error *err)
{
	const cJSON *targets = member(adapter->config, "target_modules"), *item;
	if (cJSON_IsString(targets)) {
		if (strcasecmp(targets->valuestring, "all-linear") == 0)
			return 0;
		/* One that is not understood names what it names: the keys of
		 * the weights say the same. */
		int r = pattern_new(targets->valuestring, &adapter->targets,
				    NULL);
		return r == -ENOMEM ? error_set(err, r, "out of memory") : 0;
	}
	if (targets && !cJSON_IsArray(targets))
		return wrong(adapter, "target_modules", "a list or a pattern",
			     err);
	cJSON_ArrayForEach(item, targets)
	{
		if (!cJSON_IsString(item))
			return wrong(adapter, "target_modules",
				     "a list of names", err);
	}
	return 0;
}

static int read_all(struct adapter *adapter, struct error *err)
{
	int r = check_type(adapter, err);

	if (r == 0)
		r = check_variants(adapter, err);
	if (r == 0)
		r = check_start(adapter, err);
	if (r == 0)
		r = read_flag(adapter, "use_rslora", &adapter->rank_stabilised,
			      err);
	if (r == 0)
		r = read_flag(adapter, "fan_in_fan_out",
			      &adapter->fan_in_fan_out, err);
	if (r == 0)
		r = read_flag(adapter, "use_dora", &adapter->dora, err);
	if (r == 0)
		r = read_flag(adapter, "ensure_weight_tying", &adapter->ties,
			      err);
	if (r == 0)
		r = read_rules(adapter, "r", "rank_pattern", &adapter->ranks,
			       err);
	if (r == 0)
		r = read_rules(adapter, "lora_alpha", "alpha_pattern",
			       &adapter->alphas, err);
	if (r == 0)
		r = read_targets(adapter, err);
	return r < 0 ? r : read_runs(adapter, err);
}

int adapter_new(const cJSON *config, const char *path, struct adapter **ret,
		struct error *err)
{
	AUTO(adapter) adapter = calloc(1, sizeof(*adapter));
	if (!adapter)
		return error_set(err, -ENOMEM, "out of memory");
	adapter->path = path;
	adapter->config = config;

	int r = read_all(adapter, err);
	if (r < 0)
		return r;
	*ret = TAKE(adapter);
	return 0;
}

static void rules_done(struct adapter_rules *rules)
{
	for (size_t i = 0; i < rules->n; i++)
		pattern_free(rules->items[i].pattern);
	free(rules->items);
}

void adapter_free(struct adapter *adapter)
{
	if (!adapter)
		return;
	rules_done(&adapter->ranks);
	rules_done(&adapter->alphas);
	pattern_free(adapter->targets);
	free(adapter->runs);
	free(adapter);
}

static double value_of(const struct adapter_rules *rules, const char *module)
{
	for (size_t i = 0; i < rules->n; i++) {
		if (pattern_matches_end(rules->items[i].pattern, module))
			return rules->items[i].value;
	}
	return rules->otherwise;
}

double adapter_rank(const struct adapter *adapter, const char *module)
{
	return value_of(&adapter->ranks, module);
}

double adapter_scale(const struct adapter *adapter, const char *module)
{
	double rank = adapter_rank(adapter, module);
	double alpha = value_of(&adapter->alphas, module);

	return alpha / (adapter->rank_stabilised ? sqrt(rank) : rank);
}

/* "layers.0.q_proj" ends in "q_proj", not in "proj". */
static bool ends_in(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n >= m && strcmp(name + n - m, end) == 0 &&
	       (n == m || name[n - m - 1] == '.');
}

bool adapter_lists(const struct adapter *adapter, const char *key,
		   const char *name)
{
	const cJSON *list = member(adapter->config, key), *item;

	cJSON_ArrayForEach(item, list)
	{
		if (cJSON_IsString(item) && ends_in(name, item->valuestring))
			return true;
	}
	return false;
}

bool adapter_targets(const struct adapter *adapter, const char *module)
{
	if (adapter->targets)
		return pattern_matches(adapter->targets, module);
	if (!cJSON_IsArray(member(adapter->config, "target_modules")))
		return true;
	return adapter_lists(adapter, "target_modules", module);
}
