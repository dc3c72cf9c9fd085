/*
 * Whole files: what was written is found again, by one maker at a time, and
 * goes and stays together with its mark.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/whole.h"
#include "tests/unit/check.h"
#include "util/io.h"

#define SIZE (3 * BLOCK_SIZE + 4321)

static char folder[] = "/tmp/test-whole-XXXXXX";
static char other_folder[] = "/dev/shm/test-whole-XXXXXX";
static const struct digest key = {0xabull << 56, 1};
static unsigned char right[SIZE];

static char *in_folder(const char *parent, const char *name)
{
	char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", parent, name) > 0);
	return path;
}

static struct disk_cache *open_cache(const char *name, uint64_t size)
{
	AUTO_FREE char *path = in_folder(folder, name);
	struct disk_options options = {.directory = path, .size = size};
	struct disk_cache *disk = NULL;

	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	return disk;
}

/* In pieces that have nothing to do with blocks. */
static void make(struct disk_cache *disk)
{
	AUTO(whole) whole = NULL;

	CHECK(whole_begin(disk, key, SIZE, &whole) == 0);
	for (size_t at = 0, n = 1; at < SIZE; at += n, n = n * 7 % 100003) {
		n = n < SIZE - at ? n : SIZE - at;
		CHECK(whole_write(whole, right + at, n) == 0);
	}
	CHECK(whole_open(disk, key, SIZE) == -ENOENT);
	CHECK(whole_publish(whole) == 0);
}

static void check_there(struct disk_cache *disk)
{
	static unsigned char found[SIZE];
	AUTO_CLOSE int fd = whole_open(disk, key, SIZE);

	CHECK(fd >= 0);
	CHECK(io_read(fd, found, SIZE, 0) == 0);
	CHECK(memcmp(found, right, SIZE) == 0);
	CHECK(whole_open(disk, key, SIZE - 1) == -ENOENT);
	CHECK(whole_verify(disk_cache_directory(disk), key) == 0);
}

static void test_round_trip(void)
{
	struct disk_cache *disk = open_cache("round", 1 << 30);
	struct cache_counters counters = {0};
	int dir = disk_cache_directory(disk);

	CHECK(whole_verify(dir, key) == -ENOENT);
	make(disk);
	check_there(disk);
	/* Nothing of it is a block. */
	disk_cache_counters(disk, &counters);
	CHECK(counters.loaded == 0 && counters.stored == 0);
	CHECK(counters.absent == 0 && counters.used >= SIZE);

	/* What is not finished, or has been touched, is not found. */
	struct whole *whole = NULL;
	CHECK(whole_begin(disk, key, SIZE, &whole) == 0);
	CHECK(whole_write(whole, right, SIZE - 1) == 0);
	CHECK(whole_publish(whole) == -EINVAL);
	whole_free(whole);
	check_there(disk);
	AUTO_FREE char *path = in_folder(
		folder, "round/ab/000000000000000000000000000001.file");
	CHECK(chmod(path, 0600) == 0);
	CHECK(whole_open(disk, key, SIZE) == -ENOENT);
	CHECK(whole_verify(dir, key) == 0);
	AUTO_CLOSE int fd = open(path, O_WRONLY);
	CHECK(io_write(fd, "x", 1, BLOCK_SIZE) == 0);
	CHECK(whole_verify(dir, key) == -EBADMSG);
	make(disk);
	check_there(disk);
	disk_cache_close(disk);
}

/* One maker at a time; what a killed one left is no hindrance. */
static void test_one_maker(void)
{
	struct disk_cache *disks[] = {open_cache("one", 1 << 30),
				      open_cache("one", 1 << 30)};
	struct whole *whole = NULL, *second = NULL;
	AUTO_FREE char *left = in_folder(
		folder, "one/ab/.000000000000000000000000000001.file");

	CHECK(whole_begin(disks[0], key, SIZE, &whole) == 0);
	CHECK(whole_write(whole, "wrong", 5) == 0);
	for (unsigned i = 0; i < 2; i++)
		CHECK(whole_begin(disks[i], key, SIZE, &second) == -EBUSY);
	CHECK(access(left, F_OK) == 0);
	disk_cache_tidy(disks[1]);
	CHECK(access(left, F_OK) == 0);
	whole_free(whole);
	CHECK(access(left, F_OK) < 0);

	AUTO_CLOSE int fd = creat(left, 0600);
	CHECK(io_write(fd, right + 1, SIZE - 1, BLOCK_SIZE) == 0);
	make(disks[1]);
	check_there(disks[0]);
	for (unsigned i = 0; i < 2; i++)
		disk_cache_close(disks[i]);
}

/* Bytes of another file, on the same file system or not. */
static void test_copy(const char *parent)
{
	const size_t header = 4096, most = BLOCK_SIZE;
	struct disk_cache *disk = open_cache("copy", 1 << 30);
	AUTO_FREE char *path = in_folder(parent, "source");
	AUTO(whole) whole = NULL;

	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT, 0600);
	CHECK(io_write(fd, right, SIZE, 0) == 0);
	CHECK(whole_begin(disk, key, SIZE, &whole) == 0);
	CHECK(whole_write(whole, right, header) == 0);
	for (size_t at = header, n; at < SIZE; at += n) {
		n = SIZE - at < most ? SIZE - at : most;
		CHECK(whole_copy(whole, fd, at, n) == 0);
	}
	CHECK(whole_copy(whole, fd, SIZE, 1) == -EIO);
	CHECK(whole_publish(whole) == 0);
	check_there(disk);
	disk_cache_close(disk);
}

#define BLOCK 8192 /* what one takes on disk */
#define N_BLOCKS 100

static struct digest block_key(unsigned i)
{
	return (struct digest){(uint64_t)i << 56, i};
}

static void set_age(const char *name, time_t seconds)
{
	AUTO_FREE char *path = in_folder(folder, name);
	time_t then = time(NULL) - seconds;
	struct timespec times[2] = {{.tv_sec = then}, {.tv_sec = then}};

	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static unsigned count_blocks(struct disk_cache *disk)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N_BLOCKS; i++)
		n += disk_cache_has(disk, block_key(i));
	return n;
}

/* A file that was made long ago, but is in use, stays; in time it goes, and its
 * mark with it. */
static void test_use(void)
{
	static const char mark[] = "use/ab/000000000000000000000000000001.mark";
	struct disk_cache *disk = open_cache("use", 1 << 30);
	AUTO_FREE char *path = in_folder(folder, mark);
	char name[64];

	make(disk);
	set_age(mark, 1000000);
	whole_note_use(disk, key);
	for (unsigned i = 0; i < N_BLOCKS; i++) {
		CHECK(disk_cache_store(disk, block_key(i), right + i, 5000,
				       1) == 0);
		snprintf(name, sizeof(name), "use/%02x/%014x%016x", i, 0, i);
		set_age(name, 1000);
	}
	disk_cache_close(disk);
	disk = open_cache("use", SIZE + N_BLOCKS / 2 * BLOCK);
	disk_cache_tidy(disk);
	unsigned n = count_blocks(disk);
	CHECK(n < N_BLOCKS && n > 0);
	check_there(disk);

	set_age(mark, 2000);
	disk_cache_close(disk);
	disk = open_cache("use", SIZE);
	disk_cache_tidy(disk);
	CHECK(whole_open(disk, key, SIZE) == -ENOENT);
	CHECK(access(path, F_OK) < 0 && count_blocks(disk) == n);

	/* A mark that has lost its file goes, too. */
	CHECK(close(creat(path, 0600)) == 0);
	disk_cache_tidy(disk);
	CHECK(access(path, F_OK) < 0);
	disk_cache_close(disk);
}

int main(void)
{
	AUTO_FREE char *command = NULL;

	CHECK(mkdtemp(folder) && mkdtemp(other_folder));
	for (size_t i = 0; i < SIZE; i++)
		right[i] = (unsigned char)(i * 31 + (i >> 8) * 7);
	test_round_trip();
	test_one_maker();
	test_copy(folder);
	test_copy(other_folder);
	test_use();
	CHECK(asprintf(&command, "rm -r %s %s", folder, other_folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
