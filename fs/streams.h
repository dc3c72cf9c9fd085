/*
 * Which reads of files are runs, and what to compute ahead of them.
 *
 * A run belongs to a file, not to an open: mapped files are read by page faults
 * that bear no handle, and several processes may read one file in step. Many
 * runs are known at a time, so that threads which read slices of a file, or
 * fault in several tensors, do not hide each other. Readahead makes requests
 * arrive a little out of order, and a reader may skip what it does not want;
 * neither ends a run.
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

/* window: bytes to be ahead of one run. total: ahead of all, so that none
 * pushes out of memory what another is about to read. */
int streams_new(uint64_t window, uint64_t total, struct streams **ret);
void streams_free(struct streams *streams);
DEFINE_AUTO(streams, streams_free);

struct stream_read {
	uint32_t file;
	uint64_t offset, size;
};

/*
 * Takes note of a read. True when a range, which may reach over the end of the
 * file, is worth to be computed ahead; no byte of a run is named twice.
 */
bool streams_note(struct streams *streams, const struct stream_read *read,
		  struct stream_range *ret);

#endif
