#include "fs/failure.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "merge/engine/shelf.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "merge/source/file.h"
#include "merge/source/source.h"

/* A weight file that is not what it was any more, or NULL. */
static const char *find_changed(const struct shelf *shelf)
{
	for (size_t i = 0; i < shelf->n_sources; i++) {
		const struct source *source = shelf->sources[i];
		for (size_t j = 0; j < source->n_files; j++) {
			if (file_check(source->files[j]) < 0)
				return source->files[j]->path;
		}
	}
	return NULL;
}

int failure_describe(const struct merge *merge, uint32_t entry, uint64_t offset,
		     size_t size, int r, struct error *err)
{
	const char *cause = strerror(-r), *changed = NULL;
	uint32_t n;

	if (r == -ESTALE || r == -EIO)
		changed = find_changed(merge->shelf);
	if (r == -ESTALE && !changed)
		changed = "a source file";
	if (changed)
		cause = " has changed since it was opened";
	return error_set(err, r,
			 "%s: bytes %" PRIu64 " to %" PRIu64
			 " cannot be read: %s%s",
			 image_entries(merge->image, &n)[entry].path, offset,
			 offset + size, changed ? changed : "", cause);
}
