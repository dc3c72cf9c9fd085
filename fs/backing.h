/*
 * FUSE passthrough: files that the kernel reads from another file by itself.
 *
 * Needs Linux 6.9 and CAP_SYS_ADMIN; where either is missing every file takes
 * the usual road. All opens of an inode must agree, so the road is chosen when
 * a file that nobody has open is opened, and kept until its last release.
 *
 * libfuse 3.14 knows none of this: the reply to INIT is amended on its way to
 * the kernel, and OPEN is answered by hand.
 *
 * Every function may be called from any thread.
 */
#ifndef FS_BACKING_H
#define FS_BACKING_H

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

struct backings;

int backings_new(uint32_t n_files, struct backings **ret);
void backings_free(struct backings *backings);
DEFINE_AUTO(backings, backings_free);

/*
 * Lets the session's traffic pass through here; call once it is mounted and
 * before it is served.
 */
int backings_attach(struct backings *backings, struct fuse_session *fuse);

/* A descriptor of the file that has the bytes of `file`, or negative: none.
 * *ret_close: the caller is to close it. */
typedef int backing_find_fn(void *arg, uint32_t file, bool *ret_close);

/* The usual road is chosen for `file`: no read of it is in flight, nor can one
 * come before this returns. */
typedef void backing_usual_fn(void *arg, uint32_t file);

/*
 * Answers an OPEN of `file`; find is asked when a road has to be chosen. May
 * be called for a file that has a backing or not. Replies exactly once.
 */
void backings_open(struct backings *backings, fuse_req_t req, uint32_t file,
		   struct fuse_file_info *fi, backing_find_fn *find,
		   backing_usual_fn *usual, void *arg);

/* An open has ended. */
void backings_release(struct backings *backings, uint32_t file);

/* Is it read by the kernel itself, now? */
bool backings_passed(struct backings *backings, uint32_t file);

struct backing_counters {
	uint64_t opens;	 /* answered by passthrough */
	uint64_t bytes;	 /* sizes of the files so opened, first opens only */
	uint32_t n_open; /* now: files with a backing */
	bool allowed;	 /* by the kernel, as far as is known */
};
void backings_counters(struct backings *backings, struct backing_counters *ret);

#endif
