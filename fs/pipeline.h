/*
 * Files of an image read from end to end, in order, with several reads in
 * flight so that every thread has work.
 */
#ifndef FS_PIPELINE_H
#define FS_PIPELINE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "util/macros.h"

struct merge;
struct pipeline;

/* Takes `size` bytes at `offset`. 0 or negative errno, which ends the file. */
typedef int pipeline_sink(void *arg, const struct iovec *iov, size_t n_iov,
			  uint64_t offset, size_t size);

/* merge is borrowed and must be started. signals: see signals_open(). */
int pipeline_new(const struct merge *merge, int signals, struct pipeline **ret);

/* Waits for reads that are in flight. */
void pipeline_free(struct pipeline *pipeline);
DEFINE_AUTO(pipeline, pipeline_free);

/*
 * Calls sink for the file's bytes in order, on this thread. 0, sink's errno,
 * that of a read (then *ret_offset is where; else it is untouched), or -EINTR
 * when a signal came.
 */
int pipeline_file(struct pipeline *pipeline, uint32_t entry,
		  pipeline_sink *sink, void *arg, uint64_t *ret_offset);

#endif
