/* config.json: an edited text is still valid, and says what was set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "merge/arch/arch.h"
#include "merge/source/source.h"
#include "util/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_edit(const char *data, size_t size, const char *key)
{
	AUTO_FREE char *text = strndup(data, size);
	AUTO(cJSON) edited = NULL;
	uint64_t value = 0;

	if (json_edit(&text, key, "77") < 0)
		return;
	if (json_parse(text, strlen(text), "edited", &edited, NULL) < 0)
		abort();
	if (!json_u64(json_at(edited, key), &value) || value != 77)
		abort();
}

/* Any config.json must do for a checkpoint of a few layers. */
static void infer(cJSON *config)
{
	struct tensor tensors[] = {
		{.name = "lm_head.weight"},
		{.name = "model.layers.0.w"},
		{.name = "model.layers.1.w"},
		{.name = "vision.layers.0.w"},
	};
	struct source source = {
		.directory = "fuzz",
		.config = config,
		.tensors = tensors,
		.n_tensors = ARRAY_SIZE(tensors),
	};
	AUTO(arch) arch = NULL;
	struct error err;
	struct arch_place place;

	if (arch_infer(&source, &arch, &err) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(tensors); i++) {
		arch_locate(arch, tensors[i].name, &place);
		if (place.module >= arch->n_modules)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO(cJSON) config = NULL;
	struct error err;

	if (json_parse((const char *)data, size, "fuzz", &config, &err) < 0)
		return 0;
	if (!cJSON_IsObject(config))
		return 0;
	infer(config);
	check_edit((const char *)data, size, "num_hidden_layers");
	check_edit((const char *)data, size, "text_config.vocab_size");
	return 0;
}
