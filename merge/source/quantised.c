/* How quantised checkpoints show themselves. */
#include "merge/source/source.h"
#include "util/json.h"
#include "util/text.h"

/* Names that only packed weights and their scales have. */
static bool is_telling(const char *name)
{
	static const char *const endings[] = {
		".weight_scale_inv", ".weight_packed", ".weight_scale",
		".weight_scale_2",   ".qweight",       ".qzeros",
		".absmax",	     ".SCB",	       "_proj_blocks",
		"_proj_scales",
	};

	return text_ends_any(name, endings, ARRAY_SIZE(endings));
}

/* Elements that only stand for numbers together with a scale. */
static bool is_small_float(const struct dtype *dtype)
{
	switch (dtype->code) {
	case DTYPE_F4:
	case DTYPE_F6_E2M3:
	case DTYPE_F6_E3M2:
	case DTYPE_F8_E5M2:
	case DTYPE_F8_E4M3:
	case DTYPE_F8_E8M0:
	case DTYPE_F8_E4M3FNUZ:
	case DTYPE_F8_E5M2FNUZ:
		return true;
	default:
		return false;
	}
}

const char *source_quantised(const struct source *source)
{
	for (size_t i = 0; i < source->n_tensors; i++) {
		const struct tensor *tensor = &source->tensors[i];
		if (is_telling(tensor->name) || is_small_float(tensor->dtype))
			return tensor->name;
	}
	const cJSON *config = json_at(source->config, "quantization_config");
	return cJSON_IsObject(config) ? "quantization_config in config.json"
				      : NULL;
}
