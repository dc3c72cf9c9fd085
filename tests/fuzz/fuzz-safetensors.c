/* Headers: what is accepted lies inside the file and does not overlap. */
#include <stdint.h>
#include <stdlib.h>

#include "merge/source/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors safetensors = {0};
	struct error err;
	uint64_t total = 0;

	if (safetensors_parse(data, size, size, "fuzz", &safetensors, &err) < 0)
		return 0;
	for (size_t i = 0; i < safetensors.n_tensors; i++) {
		const struct tensor *tensor = &safetensors.tensors[i];
		if (tensor->offset > size ||
		    tensor->size > size - tensor->offset)
			abort();
		total += tensor->size;
	}
	if (total > size)
		abort();
	safetensors_done(&safetensors);
	return 0;
}
