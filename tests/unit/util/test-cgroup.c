/*
 * Limits of control groups, as a tree of files that is written here.
 */
#include "util/cgroup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/macros.h"

static char root[] = "/tmp/test-cgroup-XXXXXX";

static void say(const char *path, const char *text)
{
	AUTO_FREE char *command = NULL;

	/* Of these files none has a quote in it. */
	CHECK(asprintf(&command,
		       "mkdir -p \"$(dirname %s/%s)\" && printf '%s' "
		       "> %s/%s",
		       root, path, text, root, path) > 0);
	CHECK(system(command) == 0);
}

static void clear(void)
{
	AUTO_FREE char *command = NULL;

	CHECK(asprintf(&command, "rm -rf %s/*", root) > 0);
	CHECK(system(command) == 0);
}

static void expect(uint64_t limit, uint64_t available)
{
	struct cgroup_memory memory = {0};

	CHECK(cgroup_memory(root, &memory) == 0);
	CHECK(memory.limit == limit && memory.available == available);
}

static void expect_none(void)
{
	struct cgroup_memory memory;

	CHECK(cgroup_memory(root, &memory) == -ENOENT);
}

static void test_version_2(void)
{
	clear();
	expect_none();
	say("proc/self/cgroup", "0::/pod/one\n");
	expect_none();
	say("sys/fs/cgroup/pod/one/memory.max", "max\n");
	say("sys/fs/cgroup/pod/one/memory.current", "700\n");
	expect_none();
	say("sys/fs/cgroup/pod/one/memory.max", "1000\n");
	expect(1000, 300);
	say("sys/fs/cgroup/pod/one/memory.stat",
	    "anon 1\nfile 300\ninactive_anon 50\ninactive_file 100\n"
	    "active_file 150\n");
	expect(1000, 550);
	/* The one around it has less. */
	say("sys/fs/cgroup/pod/memory.max", "1500\n");
	say("sys/fs/cgroup/pod/memory.current", "1480\n");
	expect(1000, 20);
	/* More than is allowed, as limits may be lowered. */
	say("sys/fs/cgroup/pod/memory.max", "900\n");
	expect(900, 0);
}

/* A container sees its own group as the uppermost, be its name known or not. */
static void test_container(void)
{
	clear();
	say("proc/self/cgroup", "0::/\n");
	say("sys/fs/cgroup/memory.max", "5000\n");
	say("sys/fs/cgroup/memory.current", "1000\n");
	say("sys/fs/cgroup/memory.stat", "inactive_file 500\n");
	expect(5000, 4500);
	say("proc/self/cgroup", "0::/../../elsewhere\n");
	expect(5000, 4500);
	say("proc/self/cgroup", "0::/docker/12345\n");
	expect(5000, 4500);
}

static void test_version_1(void)
{
	clear();
	say("proc/self/cgroup",
	    "9:name=systemd:/\n5:cpu,cpuacct:/wrong\n"
	    "4:hugetlb,memory:/box\n3:cpuset:/wrong\n0::/\n");
	say("sys/fs/cgroup/memory/memory.limit_in_bytes",
	    "9223372036854771712\n");
	say("sys/fs/cgroup/memory/memory.usage_in_bytes", "9999\n");
	expect_none();
	say("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "3000\n");
	say("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "2900\n");
	say("sys/fs/cgroup/memory/box/memory.stat",
	    "cache 7\ninactive_file 3\ntotal_inactive_file 200\n"
	    "total_active_file 1000\n");
	expect(3000, 1300);
}

/* Nothing that is wrong is a limit. */
static void test_nonsense(void)
{
	clear();
	say("proc/self/cgroup", "\n::\nmemory\n0:memory\n0::");
	expect_none();
	say("proc/self/cgroup", "0::/a");
	say("sys/fs/cgroup/a/memory.max", "");
	say("sys/fs/cgroup/a/memory.current", "1");
	expect_none();
	say("sys/fs/cgroup/a/memory.max", "10");
	say("sys/fs/cgroup/a/memory.current", "x");
	expect_none();
}

int main(void)
{
	CHECK(mkdtemp(root));
	test_version_2();
	test_container();
	test_version_1();
	test_nonsense();
	clear();
	CHECK(remove(root) == 0);
	return 0;
}
