/*
 * Whether memory is short, by figures that are written here.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/pressure.h"
#include "tests/unit/check.h"
#include "util/io.h"
#include "util/macros.h"

static char root[] = "/tmp/test-pressure-XXXXXX";

static void say(int fd, const char *text)
{
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(io_write(fd, text, strlen(text), 0) == 0);
}

static bool is_short(int fd, const char *text)
{
	struct pressure pressure = {.root = root};

	say(fd, text);
	return pressure_is_short(&pressure);
}

#define LINES "MemTotal: 16000 kB\nMemFree: 10 kB\nMemAvailable: "

static int open_in(const char *name)
{
	AUTO_FREE char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", root, name) > 0);
	int fd = creat(path, 0600);
	CHECK(fd >= 0);
	return fd;
}

static void shell(const char *what)
{
	AUTO_FREE char *command = NULL;

	CHECK(asprintf(&command, "cd %s && %s", root, what) > 0);
	CHECK(system(command) == 0);
}

/* The group's figures count beside those of the machine. */
static void test_group(int machine)
{
	AUTO_CLOSE int group = open_in("proc/self/cgroup");
	AUTO_CLOSE int limit = open_in("sys/fs/cgroup/memory.max");
	AUTO_CLOSE int current = open_in("sys/fs/cgroup/memory.current");

	say(group, "0::/\n");
	say(limit, "1600");
	say(current, "1500");
	CHECK(!is_short(machine, LINES "16000 kB\n"));
	CHECK(is_short(machine, LINES "0 kB\n"));
	say(current, "1501");
	CHECK(is_short(machine, LINES "16000 kB\n"));
	say(limit, "max");
	CHECK(!is_short(machine, LINES "16000 kB\n"));
}

int main(void)
{
	struct pressure pressure = {.root = root}, none = {0};

	CHECK(mkdtemp(root));
	shell("mkdir -p proc/self sys/fs/cgroup");
	int fd = open_in("proc/meminfo");
	CHECK(is_short(fd, LINES "999 kB\nBuffers: 5 kB\n"));
	CHECK(!is_short(fd, LINES "1000 kB\nBuffers: 5 kB\n"));
	CHECK(!is_short(fd, LINES "16000 kB\n"));
	CHECK(is_short(fd, LINES "0 kB\n"));

	/* No figure is no reason. */
	CHECK(!is_short(fd, ""));
	CHECK(!is_short(fd, "MemTotal: 16000 kB\nMemFree: 10 kB\n"));
	CHECK(!is_short(fd, LINES "little\n"));
	CHECK(!pressure_is_short(&none));

	/* One look a second. */
	say(fd, LINES "0 kB\n");
	CHECK(pressure_is_short(&pressure));
	say(fd, LINES "16000 kB\n");
	CHECK(pressure_is_short(&pressure));
	usleep(1100000);
	CHECK(!pressure_is_short(&pressure));
	test_group(fd);
	shell("rm -r proc sys");
	CHECK(!is_short(fd, ""));
	CHECK(rmdir(root) == 0);
	close(fd);
	return 0;
}
