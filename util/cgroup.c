#include "util/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/macros.h"
#include "util/range.h"

#define TEXT_SIZE 16384

/* Version 1 says so where there is no limit, rounded down to pages. */
#define NO_LIMIT (UINT64_C(1) << 62)

struct version {
	const char *folder; /* where groups are */
	const char *limit, *usage;
	/* lines of memory.stat: page cache */
	const char *inactive, *active;
};

static const struct version version_1 = {
	.folder = "/sys/fs/cgroup/memory",
	.limit = "memory.limit_in_bytes",
	.usage = "memory.usage_in_bytes",
	.inactive = "\ntotal_inactive_file ",
	.active = "\ntotal_active_file ",
};

static const struct version version_2 = {
	.folder = "/sys/fs/cgroup",
	.limit = "memory.max",
	.usage = "memory.current",
	.inactive = "\ninactive_file ",
	.active = "\nactive_file ",
};

/* text: (TEXT_SIZE,) */
static int read_text(const char *path, char *text)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEXT_SIZE - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	return 0;
}

static int read_in(const char *group, const char *name, char *text)
{
	char path[PATH_MAX + 32];

	snprintf(path, sizeof(path), "%s/%s", group, name);
	return read_text(path, text);
}

/* -ENOENT for "max" as well. */
static int read_number(const char *group, const char *name, uint64_t *ret)
{
	char text[TEXT_SIZE];
	unsigned long long number;

	int r = read_in(group, name, text);
	if (r < 0)
		return r;
	if (sscanf(text, "%llu", &number) != 1)
		return -ENOENT;
	*ret = number;
	return 0;
}

static uint64_t line_of(const char *text, const char *name)
{
	const char *line = strstr(text, name);

	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* What the kernel would rather have than fail. */
static uint64_t page_cache(const struct version *version, const char *group)
{
	char text[1 + TEXT_SIZE] = "\n";

	if (read_in(group, "memory.stat", text + 1) < 0)
		return 0;
	return line_of(text, version->inactive) +
	       line_of(text, version->active);
}

static void look_at(const struct version *version, const char *group,
		    struct cgroup_memory *least)
{
	uint64_t limit, usage;

	if (read_number(group, version->limit, &limit) < 0 ||
	    limit >= NO_LIMIT || read_number(group, version->usage, &usage) < 0)
		return;
	usage -= min_u64(usage, page_cache(version, group));
	least->limit = min_u64(least->limit, limit);
	least->available =
		min_u64(least->available, limit - min_u64(limit, usage));
}

/* Is "memory" in the list? */
static bool has_memory(char *controllers)
{
	const char *name;

	while ((name = strsep(&controllers, ","))) {
		if (strcmp(name, "memory") == 0)
			return true;
	}
	return false;
}

/* From lines "NUMBER:CONTROLLERS:PATH". Those of version 2 have no controllers,
 * and it may be there beside version 1, without memory. */
static const struct version *find_group(char *text, const char **ret_path)
{
	const struct version *found = NULL;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		const char *number = strsep(&line, ":");
		char *controllers = strsep(&line, ":");
		if (!line)
			continue;
		bool memory = has_memory(controllers);
		if (memory || strcmp(number, "0") == 0) {
			found = memory ? &version_1 : &version_2;
			*ret_path = line;
		}
		if (memory)
			break;
	}
	return found;
}

int cgroup_memory(const char *root, struct cgroup_memory *ret)
{
	struct cgroup_memory least = {UINT64_MAX, UINT64_MAX};
	char text[TEXT_SIZE], path[PATH_MAX];
	const char *name;

	snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
	int r = read_text(path, text);
	if (r < 0)
		return r;
	const struct version *version = find_group(text, &name);
	if (!version)
		return -ENOENT;

	int top = snprintf(path, sizeof(path), "%s%s", root, version->folder);
	snprintf(path + top, sizeof(path) - (size_t)top, "%s", name);
	/* Up to the folder itself. */
	for (char *end = path + strlen(path); end && end >= path + top;
	     end = strrchr(path, '/')) {
		*end = '\0';
		look_at(version, path, &least);
	}
	if (least.limit == UINT64_MAX)
		return -ENOENT;
	*ret = least;
	return 0;
}
