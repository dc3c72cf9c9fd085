/* adapter_config.json: whatever is accepted gives finite, usable numbers. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "merge/source/adapter.h"
#include "util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"model.layers.10.mlp.up_proj",
					    "lm_head", ""};
	AUTO(cJSON) config = NULL;
	AUTO(adapter) adapter = NULL;
	struct error err;

	if (json_parse((const char *)data, size, "fuzz", &config, &err) < 0 ||
	    !cJSON_IsObject(config) ||
	    adapter_new(config, "fuzz", &adapter, &err) < 0)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		double rank = adapter_rank(adapter, names[i]);
		if (!(rank >= 1 && rank <= ADAPTER_MAX_RANK) ||
		    !isfinite(adapter_scale(adapter, names[i])))
			abort();
		adapter_targets(adapter, names[i]);
		adapter_lists(adapter, "target_parameters", names[i]);
	}
	for (size_t i = 0; i < adapter->n_runs; i++) {
		if (adapter->runs[i].first >= adapter->runs[i].end)
			abort();
	}
	return 0;
}
