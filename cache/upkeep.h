/*
 * What a person may want to know of a cache directory, and to do with it, while
 * others use it or not.
 */
#ifndef CACHE_UPKEEP_H
#define CACHE_UPKEEP_H

#include <stdint.h>
#include <time.h>

#include "util/error.h"
#include "util/macros.h"

enum upkeep_age {
	UPKEEP_HOUR,
	UPKEEP_DAY,
	UPKEEP_WEEK,
	UPKEEP_MONTH,
	UPKEEP_OLDER,
	N_UPKEEP_AGES,
};

struct upkeep {
	uint64_t n_blocks, size;      /* on disk, in bytes */
	uint64_t size_raw;	      /* as readers get them */
	uint64_t n_whole, size_whole; /* whole files (whole.h), on disk */
	uint64_t n_temporary, n_foreign;
	uint64_t n_bad, n_removed, size_removed;
	uint64_t free; /* on the file system, for us */
	struct {
		uint64_t n, size;
	} ages[N_UPKEEP_AGES]; /* by last use, to a minute */
};

/* dir: from directory_open(). Both return 0 or a negative errno. */

/* Looks through everything; counts all but bad and removed. */
int upkeep_survey(int dir, struct upkeep *ret);

/* Reads everything; removes blocks and whole files that are not what they
 * should be. */
int upkeep_verify(int dir, struct upkeep *ret);

/* Removes all blocks and whole files, and temporary files that nobody writes.
 */
int upkeep_clear(int dir, struct upkeep *ret);

#endif
