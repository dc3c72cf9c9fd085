/*
 * Filling the cache ahead of readers: by ourselves, or by a running mount.
 */
#ifndef FS_WARM_H
#define FS_WARM_H

#include <stdint.h>

#include "util/error.h"

struct merge;

struct warm_options {
	const char *pattern;	/* of tensor names; NULL: all */
	uint32_t part, n_parts; /* both 0: all is one part */
};

/* "2/3": the second of three. -EINVAL with a sentence. */
int warm_parse_part(const char *text, struct warm_options *ret,
		    struct error *err);

/*
 * Computes and stores what is not stored yet, with a progress bar. -EINTR when
 * a signal came (they must be blocked); what was stored stays.
 *
 * merge must be started, and have a cache on disk.
 */
int warm_merge(const struct merge *merge, const struct warm_options *options,
	       struct error *err);

/* The same by the mount on path, whose readers go first. */
int warm_mount(const char *path, const struct warm_options *options,
	       struct error *err);

#endif
