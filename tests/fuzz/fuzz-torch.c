/* Archives of PyTorch: what is accepted lies inside the file. */
#include <stdint.h>
#include <stdlib.h>

#include "merge/source/file.h"
#include "merge/source/safetensors.h"
#include "merge/source/torch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safetensors tensors = {0};
	AUTO(file) file = NULL;
	struct error err;

	if (file_of_bytes("fuzz", data, size, &file, &err) < 0 ||
	    torch_read(file, &tensors, &err) < 0)
		return 0;
	for (size_t i = 0; i < tensors.n_tensors; i++) {
		const struct tensor *tensor = &tensors.tensors[i];
		if (tensor->offset > size ||
		    tensor->size > size - tensor->offset)
			abort();
		if (tensor->size != tensor->count * (tensor->dtype->bits / 8))
			abort();
	}
	safetensors_done(&tensors);
	return 0;
}
