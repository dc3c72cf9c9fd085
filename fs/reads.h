/*
 * Reads in flight: between the kernel's question and the reply, which comes
 * from whichever thread brings the last byte.
 */
#ifndef FS_READS_H
#define FS_READS_H

#include <fuse_lowlevel.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/output/image.h"

struct reads;
struct server;

int reads_new(struct reads **ret);

/* None may be in flight. */
void reads_free(struct reads *reads);

/* Begins a read within a file; replies to req exactly once. Does not block. */
void reads_start(struct server *server, fuse_req_t req, uint32_t entry,
		 uint64_t offset, size_t size);

/* Something else is in flight that must end before the session does, too. */
void reads_enter(struct reads *reads);
void reads_leave(struct reads *reads);

/* Waits until nothing is in flight. 0 or -ETIMEDOUT. */
int reads_wait(struct reads *reads, unsigned seconds);

struct read_counters {
	uint64_t n, bytes; /* replied to, with data */
	struct image_roads roads;
	unsigned n_flying; /* now */
};
void reads_counters(struct reads *reads, struct read_counters *ret);

#endif
