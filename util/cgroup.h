/*
 * How much memory the process's control group leaves it, as in a container: by
 * Linux's interface of version 2, or 1.
 *
 * Groups lie in each other, and each may have a limit. Where the process sees
 * no group but its own, as in a container, that is the uppermost one.
 */
#ifndef UTIL_CGROUP_H
#define UTIL_CGROUP_H

#include <stdint.h>

struct cgroup_memory {
	uint64_t limit;	    /* the least of all */
	uint64_t available; /* likewise: what is not taken, or is page cache */
};

/* root: of /proc and /sys, "" but in tests. -ENOENT where there is no limit. */
int cgroup_memory(const char *root, struct cgroup_memory *ret);

#endif
