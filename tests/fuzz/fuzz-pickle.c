/* Pickles: names and keys are text within them. */
#include <stdint.h>
#include <stdlib.h>

#include "merge/source/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const struct pickle_text *text, const uint8_t *data,
		       size_t size)
{
	size_t at = (size_t)((const uint8_t *)text->data - data);

	if (at > size || text->size > size - at)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pickle pickle = {0};
	struct error err;

	if (pickle_parse(data, size, "fuzz", &pickle, &err) < 0)
		return 0;
	for (size_t i = 0; i < pickle.n_tensors; i++) {
		check_text(&pickle.tensors[i].name, data, size);
		check_text(&pickle.tensors[i].storage, data, size);
	}
	pickle_done(&pickle);
	return 0;
}
