/*
 * The disk tier: what was stored comes back, and nothing else ever does. Faults
 * are put into the files by hand.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/whole.h"
#include "tests/unit/check.h"

#define SIZE 5000

static char folder[] = "/tmp/test-disk-XXXXXX";

static char *in_folder(const char *name)
{
	char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

static struct digest key_of(unsigned i)
{
	return (struct digest){(uint64_t)i << 60, i};
}

static void make_block(unsigned char *data, unsigned i)
{
	for (unsigned j = 0; j < SIZE; j++)
		data[j] = (unsigned char)(i * 31 + j * 7 + (j >> 8));
}

static struct disk_cache *open_cache(const char *name)
{
	AUTO_FREE char *path = in_folder(name);
	struct disk_options options = {.directory = path, .size = 1 << 30};
	struct disk_cache *disk = NULL;
	struct error err = {""};

	CHECK(disk_cache_open(&options, &disk, &err) == 0);
	return disk;
}

static void store(struct disk_cache *disk, unsigned i)
{
	unsigned char data[SIZE];

	make_block(data, i);
	disk_cache_store(disk, key_of(i), data, SIZE, 1);
}

/* 1: the right bytes, 0: absent; anything else aborts. */
static int load(struct disk_cache *disk, unsigned i)
{
	unsigned char data[SIZE], right[SIZE];

	int r = disk_cache_load(disk, key_of(i), data, SIZE);
	if (r < 0) {
		CHECK(r == -ENOENT);
		return 0;
	}
	make_block(right, i);
	CHECK(memcmp(data, right, SIZE) == 0);
	return 1;
}

/* The path of a stored block. */
static char *block_path(const char *cache, unsigned i)
{
	char hex[33];
	char *path = NULL;

	digest_format(key_of(i), hex);
	CHECK(asprintf(&path, "%s/%s/%.2s/%s", folder, cache, hex, hex + 2) >
	      0);
	return path;
}

static void test_round_trip(void)
{
	struct disk_cache *disk = open_cache("deep/er/cache");
	struct disk_cache *other = open_cache("deep/er/cache");

	CHECK(load(disk, 1) == 0);
	store(disk, 1);
	CHECK(load(disk, 1) == 1);
	CHECK(load(other, 1) == 1);
	store(other, 2);
	CHECK(load(disk, 2) == 1);
	CHECK(load(disk, 3) == 0);

	/* Another size is another block. */
	unsigned char data[SIZE];
	CHECK(disk_cache_load(disk, key_of(1), data, SIZE - 1) == -ENOENT);
	disk_cache_close(other);
	disk_cache_close(disk);

	disk = open_cache("deep/er/cache");
	CHECK(load(disk, 2) == 1);
	disk_cache_close(disk);
}

/* Every byte of the header, some of the payload, each flipped alone. */
static void test_flips(void)
{
	struct disk_cache *disk = open_cache("flips");
	AUTO_FREE char *path = block_path("flips", 7);
	struct stat st;
	unsigned flips = 0;

	store(disk, 7);
	CHECK(stat(path, &st) == 0);
	for (off_t at = 0; at < st.st_size; at += at < 100 ? 1 : 97) {
		store(disk, 7);
		CHECK(load(disk, 7) == 1);
		AUTO_CLOSE int fd = open(path, O_RDWR);
		unsigned char byte;
		CHECK(pread(fd, &byte, 1, at) == 1);
		byte ^= 0x10;
		CHECK(pwrite(fd, &byte, 1, at) == 1);
		CHECK(load(disk, 7) == 0);
		CHECK(access(path, F_OK) < 0); /* dropped */
		flips++;
	}
	struct cache_counters counters;
	disk_cache_counters(disk, &counters);
	CHECK(counters.dropped == flips && counters.stored == flips + 1);
	disk_cache_close(disk);
}

static void test_damage(void)
{
	struct disk_cache *disk = open_cache("damage");
	AUTO_FREE char *one = block_path("damage", 1);
	AUTO_FREE char *two = block_path("damage", 2);
	AUTO_FREE char *aside = in_folder("aside");

	store(disk, 1);
	CHECK(truncate(one, 100) == 0);
	CHECK(load(disk, 1) == 0);
	store(disk, 1);
	CHECK(truncate(one, 0) == 0);
	CHECK(load(disk, 1) == 0);

	/* Swapped: each is whole, but not what its name says. */
	store(disk, 1);
	store(disk, 2);
	CHECK(rename(one, aside) == 0 && rename(two, one) == 0 &&
	      rename(aside, two) == 0);
	CHECK(load(disk, 1) == 0 && load(disk, 2) == 0);
	store(disk, 1);
	CHECK(load(disk, 1) == 1);

	/* Zeroed, at the right length. */
	struct stat st;
	CHECK(stat(one, &st) == 0);
	CHECK(truncate(one, 0) == 0 && truncate(one, st.st_size) == 0);
	CHECK(load(disk, 1) == 0);

	/* What cannot be opened is damaged as well, not absent. */
	struct cache_counters before, after;
	disk_cache_counters(disk, &before);
	CHECK(symlink(two, one) == 0);
	CHECK(load(disk, 1) == 0);
	disk_cache_counters(disk, &after);
	CHECK(after.dropped == before.dropped + 1);
	CHECK(lstat(one, &st) < 0 && !disk_cache_has(disk, key_of(1)));
	disk_cache_close(disk);
}

static void test_refused(void)
{
	struct error err = {""};
	struct disk_cache *disk = NULL;
	AUTO_FREE char *foreign = in_folder("foreign");
	AUTO_FREE char *file = in_folder("foreign/file");
	struct disk_options options = {.directory = foreign};

	CHECK(mkdir(foreign, 0700) == 0);
	CHECK(close(creat(file, 0600)) == 0);
	CHECK(disk_cache_open(&options, &disk, &err) < 0);
	CHECK(strstr(err.text, "not a cache") && access(file, F_OK) == 0);

	AUTO_FREE char *format = in_folder("foreign/format");
	FILE *out = fopen(format, "w");
	fputs("mkfs-mount cache 999\n", out);
	fclose(out);
	CHECK(disk_cache_open(&options, &disk, &err) < 0);
	CHECK(strstr(err.text, "another version"));

	AUTO_FREE char *open_to_all = in_folder("open");
	options.directory = open_to_all;
	CHECK(mkdir(open_to_all, 0700) == 0);
	CHECK(chmod(open_to_all, 0777) == 0);
	CHECK(disk_cache_open(&options, &disk, &err) < 0);
	CHECK(strstr(err.text, "chmod"));

	CHECK(chmod(open_to_all, 0700) == 0);
	if (chown(open_to_all, geteuid() + 1, (gid_t)-1) == 0) {
		CHECK(disk_cache_open(&options, &disk, &err) == -EPERM);
		CHECK(strstr(err.text, "another user"));
	}
	options.directory = "";
	CHECK(disk_cache_open(&options, &disk, &err) < 0);
	CHECK(!disk);
}

static void test_gone(void)
{
	struct disk_cache *disk = open_cache("gone");
	AUTO_FREE char *command = NULL;

	store(disk, 1);
	CHECK(asprintf(&command, "rm -r %s/gone", folder) > 0);
	CHECK(system(command) == 0);
	CHECK(load(disk, 1) == 0);
	store(disk, 1); /* makes it again */
	CHECK(load(disk, 1) == 1);
	disk_cache_close(disk);
	disk = open_cache("gone");
	CHECK(load(disk, 1) == 1);
	disk_cache_close(disk);

	/* Removed but for what was stored meanwhile. */
	AUTO_FREE char *format = in_folder("gone/format");
	CHECK(unlink(format) == 0);
	disk = open_cache("gone");
	CHECK(load(disk, 1) == 1);
	disk_cache_close(disk);
}

/* Bytes that the blocks of a cache take, as the file system says. */
static uint64_t space_of(const char *name, unsigned n)
{
	uint64_t space = 0;
	struct stat st;

	for (unsigned i = 0; i < n; i++) {
		AUTO_FREE char *path = block_path(name, i);
		if (stat(path, &st) == 0)
			space += (uint64_t)st.st_blocks * 512;
	}
	return space;
}

/* As if it had been used so long ago. */
static void set_age(const char *name, unsigned i, time_t seconds)
{
	AUTO_FREE char *path = block_path(name, i);
	time_t then = time(NULL) - seconds;
	struct timespec times[2] = {{.tv_sec = then}, {.tv_sec = then}};

	CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

#define SPACE 8192 /* of a block */

static void test_budget(void)
{
	AUTO_FREE char *path = in_folder("small");
	struct disk_options options = {.directory = path, .size = 40 * SPACE};
	struct disk_cache *disk = NULL;
	struct cache_counters counters = {0};

	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	for (unsigned i = 0; i < 30; i++) {
		store(disk, i);
		set_age("small", i, 100000 - 2000 * i);
	}
	CHECK(load(disk, 0) == 1);     /* so it is used now */
	set_age("small", 29, -100000); /* the clock was wrong then */
	for (unsigned i = 100; i < 130; i++) {
		store(disk, i);
		CHECK(load(disk, i) == 1);
		CHECK(space_of("small", 200) <= options.size);
	}
	disk_cache_counters(disk, &counters);
	CHECK(counters.evicted >= 20 && counters.evicted < 30);
	CHECK(counters.bytes_evicted == counters.evicted * SPACE);
	CHECK(counters.budget == options.size && counters.refused == 0);
	CHECK(counters.used == space_of("small", 200));

	/* Who was used longest ago went, and nobody else. */
	CHECK(load(disk, 0) == 1 && load(disk, 29) == 1);
	for (unsigned i = 1; i < 29; i++)
		CHECK(load(disk, i) == (i > counters.evicted));
	disk_cache_close(disk);
}

/* Two that know nothing of each other keep one budget. */
static void test_shared_budget(void)
{
	AUTO_FREE char *path = in_folder("both");
	struct disk_options options = {.directory = path, .size = 64 * SPACE};
	struct disk_cache *disks[2] = {NULL};
	struct cache_counters counters[2] = {0};

	for (unsigned i = 0; i < 2; i++)
		CHECK(disk_cache_open(&options, &disks[i], NULL) == 0);
	for (unsigned i = 0; i < 400; i++) {
		store(disks[i % 2], i);
		/* One may not have noticed a 64th of the other's. */
		CHECK(space_of("both", 400) <= options.size + 2 * SPACE);
	}
	for (unsigned i = 0; i < 2; i++)
		disk_cache_counters(disks[i], &counters[i]);
	CHECK(counters[0].evicted + counters[1].evicted >= 400 - 66);
	CHECK(space_of("both", 400) >= 50 * SPACE);
	for (unsigned i = 0; i < 2; i++)
		disk_cache_close(disks[i]);
}

/* What must stay free is not there: nothing is stored, nothing is lost but what
 * the cache itself holds. */
static void test_free_space(void)
{
	AUTO_FREE char *path = in_folder("free");
	struct disk_options options = {.directory = path};
	struct disk_cache *disk = NULL;
	struct cache_counters counters = {0};

	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	store(disk, 1);
	CHECK(load(disk, 1) == 1);
	disk_cache_close(disk);

	options.free = (uint64_t)1 << 60;
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	store(disk, 2);
	CHECK(load(disk, 2) == 0 && load(disk, 1) == 0);
	disk_cache_counters(disk, &counters);
	CHECK(counters.refused == 1 && counters.evicted == 1);
	disk_cache_close(disk);
}

/* What others stored counts, and nothing goes for the sake of a whole file. */
static void test_room_for_whole(void)
{
	AUTO_FREE char *path = in_folder("fits");
	struct disk_options options = {.directory = path, .size = 20 * SPACE};
	struct disk_cache *disk = NULL;
	struct digest key = {77, 77};
	struct whole *whole = NULL;

	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	for (unsigned i = 0; i < 15; i++)
		store(disk, i);
	disk_cache_close(disk);

	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	CHECK(whole_begin(disk, key, 10 * SPACE, &whole) == -ENOSPC);
	CHECK(whole_begin(disk, key, 2 * SPACE, &whole) == 0);
	whole_free(whole);
	disk_cache_close(disk);
	CHECK(space_of("fits", 15) == 15 * SPACE);

	options.free = (uint64_t)1 << 60;
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);
	CHECK(whole_begin(disk, key, 2 * SPACE, &whole) == -ENOSPC);
	disk_cache_close(disk);
	CHECK(space_of("fits", 15) == 15 * SPACE);
}

/* Files that a crash left, and one that is being written. */
static void test_left_behind(void)
{
	struct disk_cache *disk = open_cache("left");
	AUTO_FREE char *busy = in_folder("left/00/.0123456789abcdef.1");
	static const char *const others[] = {
		"left/00/foreign",
		"left/00/.hidden",
		"left/00/.0123456789abcdef.1x",
		"left/00/.0123456789abcde.1",
		"left/00/0x3456789abcdef0123456789abcde.file",
	};
	char *paths[4];

	store(disk, 0);
	disk_cache_close(disk);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		CHECK(asprintf(&paths[i], "%s/left/00/.fedcba98%08lx.%u",
			       folder, (long)getpid(), i) > 0);
		CHECK(close(creat(paths[i], 0600)) == 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		AUTO_FREE char *path = in_folder(others[i]);
		CHECK(close(creat(path, 0600)) == 0);
	}
	AUTO_CLOSE int fd = creat(busy, 0600);
	CHECK(flock(fd, LOCK_EX) == 0);
	disk = open_cache("left");
	store(disk, 16); /* in the same folder */
	CHECK(load(disk, 16) == 1);
	disk_cache_close(disk);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		CHECK(access(paths[i], F_OK) < 0);
		free(paths[i]);
	}
	CHECK(access(busy, F_OK) == 0);
	for (unsigned i = 0; i < ARRAY_SIZE(others); i++) {
		AUTO_FREE char *path = in_folder(others[i]);
		CHECK(access(path, F_OK) == 0);
	}
}

#define LARGE ((size_t)1 << 20)

/* Pages of a file that are in the page cache. */
static unsigned count_pages(const char *path)
{
	unsigned char there[LARGE / 4096 + 1];
	unsigned n = 0;
	struct stat st;
	AUTO_CLOSE int fd = open(path, O_RDONLY);

	CHECK(fstat(fd, &st) == 0 &&
	      (size_t)st.st_size <= sizeof(there) * 4096);
	void *map =
		mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(mincore(map, (size_t)st.st_size, there) == 0);
	munmap(map, (size_t)st.st_size);
	for (off_t i = 0; i * 4096 < st.st_size; i++)
		n += there[i] & 1;
	return n;
}

/* A block is read from the disk once: not by the kernel, for the page cache, as
 * well. */
static void test_read_once(void)
{
	struct disk_cache *disk = open_cache("once");
	AUTO_FREE char *path = block_path("once", 1);
	AUTO_FREE unsigned char *data = malloc(LARGE);

	for (size_t i = 0; i < LARGE; i++)
		data[i] = (unsigned char)(i * i >> 8);
	CHECK(disk_cache_store(disk, key_of(1), data, LARGE, 1) == 0);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_DIRECT);
	CHECK(count_pages(path) > 0);
	CHECK(fd < 0 || fdatasync(fd) == 0);
	if (fd < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0 ||
	    count_pages(path) > 0)
		return; /* no direct reads here, or pages are all there is */
	CHECK(disk_cache_load(disk, key_of(1), data, LARGE) == 0);
	usleep(10000);
	CHECK(count_pages(path) == 0);
	disk_cache_close(disk);
}

struct opening {
	pthread_barrier_t start;
	char name[16];
};

static void *open_and_close(void *arg)
{
	struct opening *opening = arg;

	pthread_barrier_wait(&opening->start);
	disk_cache_close(open_cache(opening->name));
	return NULL;
}

/* Several that open a new cache at once all find it good. */
static void test_opened_at_once(void)
{
	pthread_t threads[4];
	struct opening opening;

	pthread_barrier_init(&opening.start, NULL, ARRAY_SIZE(threads));
	for (unsigned round = 0; round < 200; round++) {
		snprintf(opening.name, sizeof(opening.name), "open%u", round);
		for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
			CHECK(pthread_create(&threads[i], NULL, open_and_close,
					     &opening) == 0);
		for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
			pthread_join(threads[i], NULL);
	}
	pthread_barrier_destroy(&opening.start);
}

/* A full file system: storing stops, and resumes, by itself. */
static void test_full(void)
{
	AUTO_FREE char *path = in_folder("full");
	AUTO_FREE char *filler = in_folder("full/cache/filler");
	CHECK(mkdir(path, 0700) == 0);
	if (mount("tmpfs", path, "tmpfs", 0, "size=256k") < 0)
		return; /* needs root */

	struct disk_cache *disk = open_cache("full/cache");
	store(disk, 1);
	AUTO_CLOSE int fd = creat(filler, 0600);
	char zeros[4096] = "";
	while (write(fd, zeros, sizeof(zeros)) > 0)
		;
	/* Others need the room: what there was goes, too. */
	store(disk, 2);
	CHECK(load(disk, 1) == 0 && load(disk, 2) == 0);
	CHECK(unlink(filler) == 0);
	close(fd);
	fd = -1;
	usleep(1100000); /* not looked for again within a second */
	store(disk, 2);
	CHECK(load(disk, 2) == 1);
	disk_cache_close(disk);
	CHECK(umount(path) == 0);
}

int main(void)
{
	AUTO_FREE char *command = NULL;

	CHECK(mkdtemp(folder));
	test_round_trip();
	test_flips();
	test_damage();
	test_refused();
	test_gone();
	test_budget();
	test_shared_budget();
	test_free_space();
	test_room_for_whole();
	test_left_behind();
	test_read_once();
	test_opened_at_once();
	test_full();
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
