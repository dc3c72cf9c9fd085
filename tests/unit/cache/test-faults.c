/*
 * Every system call of the disk tier fails, at every place, with every errno:
 * readers get the right bytes all the same, storing stops and comes back by
 * itself. The linker puts the functions below before those of the C library
 * (--wrap, see meson.build).
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/upkeep.h"
#include "tests/unit/check.h"

#define N_BLOCKS 5
#define SIZE ((size_t)70000)

/* Instead of an errno: reads and writes do half of what they are asked. */
#define SHORT 1000

enum call {
	OPENAT,
	MINCORE,
	PREAD,
	FCNTL,
	FSTAT,
	FSTATAT,
	FUTIMENS,
	UNLINKAT,
	WRITEV,
	WRITE,
	RENAMEAT,
	MKDIRAT,
	FLOCK,
	FSTATVFS,
	DUP3,
	N_CALLS,
};

static const char *const call_names[N_CALLS] = {
	"openat",   "mincore",	"pread",  "fcntl",    "fstat",
	"fstatat",  "futimens", "unlink", "writev",   "write",
	"renameat", "mkdirat",	"flock",  "fstatvfs", "dup3",
};

static struct {
	enum call call;
	int number;	   /* errno, SHORT, or 0: none */
	bool all;	   /* every call from the first on, else that alone */
	bool uncached;	   /* blocks are not all in the page cache */
	atomic_int before; /* calls that succeed before it */
	atomic_int n_hits;
	atomic_llong uptime, wall; /* seconds that clocks are ahead */
} fault;

static int fails(enum call call)
{
	if (fault.number == 0 || fault.call != call)
		return 0;
	int left = atomic_fetch_sub(&fault.before, 1);
	if (left > 0 || (left < 0 && !fault.all))
		return 0;
	atomic_fetch_add(&fault.n_hits, 1);
	return fault.number;
}

#define WRAP(type, call, name, parameters, ...)    \
	type __real_##name parameters;             \
	type __wrap_##name parameters;             \
	type __wrap_##name parameters              \
	{                                          \
		int number = fails(call);          \
		if (number && number != SHORT) {   \
			errno = number;            \
			return -1;                 \
		}                                  \
		return __real_##name(__VA_ARGS__); \
	}

WRAP(int, FSTAT, fstat64, (int fd, struct stat *st), fd, st)
WRAP(int, FSTATAT, fstatat64,
     (int fd, const char *name, struct stat *st, int flags), fd, name, st,
     flags)
WRAP(int, FUTIMENS, futimens, (int fd, const struct timespec times[2]), fd,
     times)
WRAP(int, UNLINKAT, unlinkat, (int fd, const char *name, int flags), fd, name,
     flags)
WRAP(int, RENAMEAT, renameat,
     (int from, const char *old, int to, const char *new), from, old, to, new)
WRAP(int, MKDIRAT, mkdirat, (int fd, const char *name, mode_t mode), fd, name,
     mode)
WRAP(int, FLOCK, flock, (int fd, int how), fd, how)
WRAP(int, FSTATVFS, fstatvfs64, (int fd, struct statvfs *st), fd, st)
WRAP(int, DUP3, dup3, (int from, int to, int flags), from, to, flags)
WRAP(ssize_t, PREAD, pread64, (int fd, void *data, size_t n, off_t at), fd,
     data, number == SHORT ? (n + 1) / 2 : n, at)
WRAP(ssize_t, WRITE, write, (int fd, const void *data, size_t n), fd, data,
     number == SHORT ? (n + 1) / 2 : n)

int __real_mincore(void *start, size_t size, unsigned char *there);
int __wrap_mincore(void *start, size_t size, unsigned char *there);
int __wrap_mincore(void *start, size_t size, unsigned char *there)
{
	int number = fails(MINCORE);
	int r = __real_mincore(start, size, there);

	if (number && number != SHORT) {
		errno = number;
		return -1;
	}
	if (r == 0 && (number || fault.uncached))
		there[size / 2 / 4096] = 0;
	return r;
}

ssize_t __real_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int n)
{
	int number = fails(WRITEV);

	if (number == 0)
		return __real_writev(fd, iov, n);
	if (number == SHORT) {
		struct iovec cut[2] = {iov[0], iov[1]};
		cut[1].iov_len /= 2;
		return __real_writev(fd, cut, 2);
	}
	errno = number;
	return -1;
}

int __real_openat64(int fd, const char *name, int flags, mode_t mode);
int __wrap_openat64(int fd, const char *name, int flags, ...);
int __wrap_openat64(int fd, const char *name, int flags, ...)
{
	va_list list;
	va_start(list, flags);
	mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
	va_end(list);
	int number = fails(OPENAT);

	if (number == 0 || number == SHORT)
		return __real_openat64(fd, name, flags, mode);
	errno = number;
	return -1;
}

int __real_fcntl64(int fd, int what, int value);
int __wrap_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...)
{
	va_list list;
	va_start(list, what);
	int value = va_arg(list, int);
	va_end(list);
	int number = fails(FCNTL);

	if (number == 0 || number == SHORT)
		return __real_fcntl64(fd, what, value);
	errno = number;
	return -1;
}

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int r = __real_clock_gettime(clock, ret);

	ret->tv_sec += atomic_load(
		clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE
			? &fault.wall
			: &fault.uptime);
	return r;
}

/* In memory where that is possible: it is about calls, not about disks. */
static char folder[40] = "/dev/shm/test-faults-XXXXXX";
static char *path;

static void make(uint64_t number, unsigned char *data)
{
	uint64_t state = number * 977 + 1;

	for (size_t i = 0; i < SIZE; i += 2) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		data[i] = (unsigned char)(state >> 20);
		data[i + 1] = number % 2 ? (unsigned char)(state >> 8)
					 : 0x3c | (state & 1);
	}
}

static atomic_uint n_fills;

static int fill(void *arg, uint64_t number, void *data, size_t size)
{
	(void)arg;
	CHECK(size == SIZE);
	atomic_fetch_add(&n_fills, 1);
	make(number, data);
	return 0;
}

static void read_blocks(struct block_cache *cache)
{
	AUTO_FREE unsigned char *right = malloc(SIZE);

	for (uint64_t i = 0; i < N_BLOCKS; i++) {
		struct block_request request = {
			.key = {i << 60, i},
			.size = SIZE,
			.fill = fill,
			.number = i,
			.keep = true,
			.width = 2,
		};
		const struct block *block = NULL;
		CHECK(block_get(cache, &request, &block) == 0);
		make(i, right);
		CHECK(memcmp(block->data, right, SIZE) == 0);
		block_put(cache, block);
	}
}

static void read_all(struct disk_cache *disk, struct pool *pool)
{
	AUTO(block_cache) cache = NULL;
	unsigned char small[100] = {0};
	struct block_options options = {
		.memory = 32 << 20,
		.pool = pool,
		.disk = disk,
	};

	CHECK(block_cache_new(&options, &cache) == 0);
	read_blocks(cache);
	struct digest key = {77, 77};
	if (block_load(cache, key, small, sizeof(small)) == 0)
		CHECK(small[0] == 5 && small[99] == 5);
	memset(small, 5, sizeof(small));
	block_keep(cache, key, small, sizeof(small));
}

static int remove_all(const char *name, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(name);
}

static int remove_blocks(const char *name, const struct stat *st, int type,
			 struct FTW *ftw)
{
	(void)st;
	return type == FTW_F && ftw->level == 2 ? remove(name) : 0;
}

static void empty(bool removed)
{
	if (access(path, F_OK) == 0)
		CHECK(nftw(path, removed ? remove_all : remove_blocks, 16,
			   FTW_DEPTH | FTW_PHYS) == 0);
}

/* Everything is as it should be again, half a minute later. */
static void check_recovered(struct disk_cache *disk)
{
	AUTO_FREE unsigned char *data = malloc(SIZE);
	AUTO_FREE unsigned char *right = malloc(SIZE);
	struct cache_counters counters = {0};
	struct digest key = {99, 99};

	fault.number = 0;
	atomic_fetch_add(&fault.uptime, 31);
	make(2, right);
	disk_cache_counters(disk, &counters);
	CHECK(counters.paused == 0);
	CHECK(disk_cache_store(disk, key, right, SIZE, 2) == 0);
	CHECK(disk_cache_load(disk, key, data, SIZE) == 0);
	CHECK(memcmp(data, right, SIZE) == 0);
	disk_cache_tidy(disk);
}

struct scene {
	struct disk_cache *disk;
	struct pool *pool;
	bool removed; /* the directory goes while it is in use */
};

/* One block is not what it was. */
static void damage(unsigned i)
{
	AUTO_FREE char *name = NULL;

	CHECK(asprintf(&name, "%s/%x0/%014x%016x", path, i, 0, i) > 0);
	if (access(name, F_OK) == 0)
		CHECK(truncate(name, 1000) == 0);
}

/* One fault at its n-th call. Returns whether it was met. */
static bool play(const struct scene *scene, enum call call, int number,
		 int before, bool all)
{
	empty(scene->removed);
	read_all(scene->disk, scene->pool); /* so that there is something */
	damage(3);
	atomic_fetch_add(&fault.wall, 100); /* uses are noted again */
	fault.call = call;
	atomic_store(&fault.n_hits, 0);
	atomic_store(&fault.before, before);
	fault.all = all;
	fault.uncached = before % 2 || scene->removed;
	fault.number = number;
	if (scene->removed)
		empty(true);
	else
		disk_cache_tidy(scene->disk);
	read_all(scene->disk, scene->pool);
	read_all(scene->disk, scene->pool);
	bool met = atomic_load(&fault.n_hits) > 0;
	check_recovered(scene->disk);
	return met;
}

static void test_call(const struct scene *scene, enum call call)
{
	static const int once[] = {EIO, ENOENT, SHORT};
	static const int always[] = {EIO, ENOSPC, EACCES, EROFS};
	unsigned n_met = 0;

	for (size_t i = 0; i < ARRAY_SIZE(once); i++) {
		for (int before = 0; before < 40; before += before < 6 ? 1 : 9)
			n_met += play(scene, call, once[i], before, false);
	}
	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		n_met += play(scene, call, always[i], 0, true);
	printf("%s%s: met %u times\n", call_names[call],
	       scene->removed ? ", directory removed" : "", n_met);
	CHECK(n_met > 0);
}

static void test_faults(const struct scene *scene)
{
	for (enum call call = 0; call < DUP3; call++) {
		if (call != WRITE && call != MKDIRAT)
			test_call(scene, call);
	}
}

static unsigned n_stored(struct disk_cache *disk)
{
	unsigned n = 0;

	for (uint64_t i = 0; i < N_BLOCKS; i++)
		n += disk_cache_has(disk, (struct digest){i << 60, i});
	return n;
}

/* Blocks that found no place to wait in are made again; where they cannot be
 * stored then, that is tried again half a minute later, and not before. */
static void test_made_again(const struct scene *scene)
{
	AUTO(block_cache) cache = NULL;
	struct cache_counters counters = {0};
	struct block_options options = {
		.memory = 4 * SIZE - 4,
		.pool = scene->pool,
		.disk = scene->disk,
	};

	CHECK(block_cache_new(&options, &cache) == 0);
	fault.call = WRITEV;
	fault.all = true;
	fault.number = ENOSPC;
	read_blocks(cache);
	for (unsigned i = 0; i < 500 && counters.store_failed == 0; i++) {
		usleep(10000);
		block_cache_counters(cache, &counters);
	}
	CHECK(counters.skipped == N_BLOCKS && counters.store_failed == 1);
	usleep(600000);
	CHECK(atomic_load(&n_fills) == N_BLOCKS + 1);
	CHECK(n_stored(scene->disk) == 0);
	fault.number = 0;
	atomic_fetch_add(&fault.uptime, 31);
	for (unsigned i = 0; i < 500 && n_stored(scene->disk) < N_BLOCKS; i++)
		usleep(10000);
	CHECK(n_stored(scene->disk) == N_BLOCKS);
	empty(false);
}

/* What is only done when the directory is made once more. */
static void test_removed(struct scene *scene)
{
	scene->removed = true;
	test_call(scene, OPENAT);
	test_call(scene, WRITE);
	test_call(scene, MKDIRAT);
	test_call(scene, DUP3);
}

/* Blocks from the future and from long ago are blocks. */
static void test_clocks(struct scene *scene)
{
	static const long long jumps[] = {86400, -86400, 400000000, -800000000,
					  400000000};

	for (size_t i = 0; i < ARRAY_SIZE(jumps); i++) {
		read_all(scene->disk, scene->pool);
		atomic_fetch_add(&fault.wall, jumps[i]);
		disk_cache_tidy(scene->disk);
		read_all(scene->disk, scene->pool);
		check_recovered(scene->disk);
	}
}

int main(void)
{
	struct scene scene = {0};
	AUTO_FREE char *command = NULL;
	AUTO_FREE char *owned = NULL;

	if (!mkdtemp(folder)) {
		strcpy(folder, "/tmp/test-faults-XXXXXX");
		CHECK(mkdtemp(folder));
	}
	CHECK(asprintf(&owned, "%s/cache", folder) > 0);
	path = owned;
	struct disk_options options = {.directory = path};
	CHECK(disk_cache_open(&options, &scene.disk, NULL) == 0);
	CHECK(pool_new(2, &scene.pool) == 0);
	test_made_again(&scene);
	test_faults(&scene);
	test_clocks(&scene);
	test_removed(&scene);
	pool_free(scene.pool);
	disk_cache_close(scene.disk);
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
