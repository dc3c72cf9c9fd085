/*
 * What adapter_config.json of a LoRA adapter says, by the rules of PEFT.
 *
 * Module names are those of the model, without "base_model.model.".
 * Immutable after adapter_new(); every function may be called from any thread.
 */
#ifndef MERGE_SOURCE_ADAPTER_H
#define MERGE_SOURCE_ADAPTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/json.h"
#include "util/macros.h"

#define ADAPTER_MAX_RANK 65536

struct pattern;

/* rank_pattern or alpha_pattern, in the order of the file. */
struct adapter_rule {
	struct pattern *pattern; /* owned */
	double value;
};

struct adapter_rules {
	struct adapter_rule *items; /* (n,) owned */
	size_t n;
	double otherwise;
};

struct adapter_run { /* of layers: [first, end) of the base */
	uint64_t first, end;
};

struct adapter {
	const char *path;    /* of the file, for sentences; borrowed */
	const cJSON *config; /* borrowed */
	struct adapter_rules ranks, alphas;
	bool rank_stabilised, fan_in_fan_out, dora, ties;
	struct pattern *targets;  /* target_modules if it is a text; owned */
	struct adapter_run *runs; /* layer_replication: (n_runs,) owned */
	size_t n_runs;
};

/*
 * config is the file's, an object; both must outlive the adapter. Errors name
 * the file and the key: a type that is not LORA, a variant that cannot be
 * merged into weights, values of a wrong type.
 */
int adapter_new(const cJSON *config, const char *path, struct adapter **ret,
		struct error *err);
void adapter_free(struct adapter *adapter);
DEFINE_AUTO(adapter, adapter_free);

/* The configured rank of a module, and the factor that its product gets. */
double adapter_rank(const struct adapter *adapter, const char *module);
double adapter_scale(const struct adapter *adapter, const char *module);

/* Do target_modules name this module? Without any, or all-linear: true. */
bool adapter_targets(const struct adapter *adapter, const char *module);

/* Is there a list of strings `key` one of which is `name`, or an end of it
 * behind a dot? */
bool adapter_lists(const struct adapter *adapter, const char *key,
		   const char *name);

#endif
