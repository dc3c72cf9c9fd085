/*
 * Values over blocks: any size comes back whole, and one of which something is
 * missing or damaged does not come back at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/disk.h"
#include "cache/value.h"
#include "cache/walk.h"
#include "tests/unit/check.h"

static char folder[] = "/tmp/test-value-XXXXXX";

static char *make_value(size_t size, unsigned seed)
{
	char *data = malloc(size + 1);

	CHECK(data);
	for (size_t i = 0; i < size; i++)
		data[i] = (char)(i * 7 + (i >> 9) + seed);
	return data;
}

static struct digest key_of(unsigned i)
{
	return (struct digest){i, (uint64_t)i << 32};
}

/* Is the value there, and right? */
static bool there(struct disk_cache *disk, unsigned i, size_t size)
{
	AUTO_FREE char *right = make_value(size, i);
	AUTO_FREE char *data = NULL;
	size_t found = 0;

	int r = value_load(disk, key_of(i), &data, &found);
	if (r < 0) {
		CHECK(r == -ENOENT && !data);
		return false;
	}
	CHECK(found == size && memcmp(data, right, size) == 0);
	CHECK(data[size] == '\0');
	return true;
}

static void store(struct disk_cache *disk, unsigned i, size_t size)
{
	AUTO_FREE char *data = make_value(size, i);

	value_store(disk, key_of(i), data, size);
}

static void test_sizes(struct disk_cache *disk)
{
	static const size_t sizes[] = {
		0,
		1,
		BLOCK_SIZE - 1,
		BLOCK_SIZE,
		BLOCK_SIZE + 1,
		3 * BLOCK_SIZE + 5000,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK(!there(disk, i, sizes[i]));
		store(disk, i, sizes[i]);
		CHECK(there(disk, i, sizes[i]));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		CHECK(there(disk, i, sizes[i]));
}

/* The path of file number `chosen` of the cache, or NULL. */
static char *nth_file(unsigned chosen)
{
	AUTO_FREE char *command = NULL;
	char line[512] = "";

	CHECK(asprintf(&command, "find %s/?? -type f | sort | sed -n %up",
		       folder, chosen + 1) > 0);
	FILE *pipe = popen(command, "r");
	CHECK(pipe);
	char *got = fgets(line, sizeof(line), pipe);
	pclose(pipe);
	if (!got)
		return NULL;
	line[strcspn(line, "\n")] = '\0';
	return strdup(line);
}

/* Each file of a value in turn: a byte changed, then removed. */
static void test_harm(struct disk_cache *disk, unsigned i, size_t size)
{
	unsigned n = 0;

	store(disk, i, size);
	CHECK(there(disk, i, size));
	for (;; n++) {
		AUTO_FREE char *path = nth_file(n);
		unsigned char byte;
		if (!path)
			break;
		AUTO_CLOSE int fd = open(path, O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0 && pread(fd, &byte, 1, 70) == 1);
		byte ^= 1;
		CHECK(pwrite(fd, &byte, 1, 70) == 1);
		CHECK(!there(disk, i, size));
		store(disk, i, size);
		CHECK(there(disk, i, size));
		CHECK(unlink(path) == 0);
		CHECK(!there(disk, i, size));
		store(disk, i, size);
		CHECK(there(disk, i, size));
	}
	CHECK(n == 4);
}

/* A head of one version over a piece of another. */
static void test_mixed(struct disk_cache *disk, unsigned i, size_t size)
{
	char path[WALK_PATH_SIZE];
	AUTO_FREE char *from = NULL;
	AUTO_FREE char *to = NULL;
	AUTO_FREE char *other = make_value(size, i + 1);

	walk_path(key_of(i), path);
	CHECK(asprintf(&from, "%s/%s", folder, path) > 0);
	CHECK(asprintf(&to, "%s/kept", folder) > 0);
	CHECK(rename(from, to) == 0);
	value_store(disk, key_of(i), other, size);
	CHECK(rename(to, from) == 0);
	CHECK(!there(disk, i, size));
}

int main(void)
{
	struct disk_options options = {.directory = folder, .size = 1 << 30};
	struct disk_cache *disk = NULL;
	AUTO_FREE char *command = NULL;
	CHECK(mkdtemp(folder));
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);

	test_harm(disk, 100, 2 * BLOCK_SIZE + 300);
	test_mixed(disk, 100, 2 * BLOCK_SIZE + 300);
	test_sizes(disk);
	disk_cache_close(disk);
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
