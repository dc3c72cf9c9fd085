/*
 * Is the machine, or the container, short of memory? Then nothing is computed
 * ahead of readers: what they do not read yet would push out what somebody
 * needs.
 *
 * Short: less than a 16th of all memory is available, as Linux estimates it; or
 * of what control groups allow.
 * Every function may be called from any thread.
 */
#ifndef FS_PRESSURE_H
#define FS_PRESSURE_H

#include <stdatomic.h>
#include <stdbool.h>

struct pressure {
	const char *root;		/* of /proc and /sys, "" but in tests;
					   NULL: never short */
	atomic_int_fast64_t not_before; /* of the next look; 0 at first */
	atomic_bool is_short;
};

/* Looks at most once a second; false where nothing is known. */
bool pressure_is_short(struct pressure *pressure);

#endif
