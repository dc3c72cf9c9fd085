/* Indexes: no accepted shard leads out of the directory. */
#include <stdint.h>
#include <stdlib.h>

#include "merge/source/folder.h"
#include "merge/source/index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct index index = {0};
	struct error err;

	if (index_parse((const char *)data, size, "fuzz", &index, &err) < 0)
		return 0;
	for (size_t i = 0; i < index.n_shards; i++) {
		if (!folder_is_inside(index.shards[i]))
			abort();
	}
	for (size_t i = 0; i < index.n_entries; i++) {
		if (index.entries[i].shard >= index.n_shards)
			abort();
	}
	index_done(&index);
	return 0;
}
