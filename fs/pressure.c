#include "fs/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "util/cgroup.h"
#include "util/macros.h"

#define INTERVAL 1000 /* milliseconds between looks */
#define LEAST 16      /* this part of all memory is enough */

static int64_t milliseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static bool find(const char *text, const char *name, unsigned long long *ret)
{
	const char *line = strstr(text, name);

	return line && sscanf(line + strlen(name), "%llu", ret) == 1;
}

static bool is_machine_short(const char *root)
{
	char path[PATH_MAX];
	unsigned long long all, available;
	char text[512]; /* it is about the first three lines */

	snprintf(path, sizeof(path), "%s/proc/meminfo", root);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return false;
	text[n] = '\0';
	return find(text, "MemTotal:", &all) &&
	       find(text, "MemAvailable:", &available) &&
	       available < all / LEAST;
}

static bool is_group_short(const char *root)
{
	struct cgroup_memory memory;

	return cgroup_memory(root, &memory) == 0 &&
	       memory.available < memory.limit / LEAST;
}

bool pressure_is_short(struct pressure *pressure)
{
	int64_t now = milliseconds();
	int_fast64_t not_before = atomic_load(&pressure->not_before);

	/* One of the threads that come at once looks. */
	if (pressure->root && now >= not_before &&
	    atomic_compare_exchange_strong(&pressure->not_before, &not_before,
					   now + INTERVAL))
		atomic_store(&pressure->is_short,
			     is_machine_short(pressure->root) ||
				     is_group_short(pressure->root));
	return atomic_load(&pressure->is_short);
}
