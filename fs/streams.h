/*
 * Which reads of a file are runs, and what to compute ahead of them.
 *
 * State is kept for each file, not for each open: mapped files are read by page
 * faults that bear no handle, and several processes may read one file in step.
 * A file has a few cursors, so that threads which read it in slices, or faults
 * in several tensors at a time, do not hide each other. Readahead makes
 * requests arrive a little out of order, which does not end a run.
 *
 * Every function may be called from any thread.
 */
#ifndef FS_STREAMS_H
#define FS_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"

struct streams;

struct stream_range {
	uint64_t offset, size;
};

/* window: bytes to be ahead of a run. */
int streams_new(uint32_t n_files, uint64_t window, struct streams **ret);
void streams_free(struct streams *streams);
DEFINE_AUTO(streams, streams_free);

/*
 * Takes note of a read. True when a range, which may reach over the end of the
 * file, is worth to be computed ahead; no byte of a run is named twice.
 */
bool streams_note(struct streams *streams, uint32_t file, uint64_t offset,
		  uint64_t size, struct stream_range *ret);

#endif
