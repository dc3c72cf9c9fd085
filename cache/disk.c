#include "cache/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <dirent.h>

#include "util/range.h"

#define FORMAT "mkfs-mount cache 1\n"
#define MAGIC "mkmblk1"
#define PAUSE 30      /* seconds without storing after a failure */
#define LEAST_FREE 20 /* a 20th of the file system stays free */

/* What precedes a payload on disk; in the machine's byte order, since a cache
 * does not travel between kinds of machines. */
struct header {
	char magic[8];
	uint64_t key_high, key_low;
	uint64_t size;		    /* of the payload */
	uint64_t codec;		    /* 0: raw */
	uint64_t sum_high, sum_low; /* of the fields above and the payload */
};

struct disk_cache {
	char *directory; /* owned */
	int fd;		 /* of the directory */
	uint64_t budget;
	atomic_uint_fast64_t
		used; /* bytes, at least what this process stored */
	atomic_int_fast64_t paused_until; /* CLOCK_MONOTONIC seconds */
	atomic_uint_fast64_t n_temporary;
	atomic_uint_fast64_t loaded, absent, bad, stored, failed;
};

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static struct header make_header(struct digest key, const void *data,
				 size_t size)
{
	struct header header = {
		.magic = MAGIC,
		.key_high = key.high,
		.key_low = key.low,
		.size = size,
	};
	struct digest head = digest_of(
		&header, offsetof(struct header, sum_high), sizeof(header));
	struct digest sum = digest_of(data, size, head.high ^ head.low);

	header.sum_high = sum.high;
	header.sum_low = sum.low;
	return header;
}

/* "ab/cdef...": a folder by the first byte, a file by the rest. */
static void block_path(struct digest key, char path[48])
{
	char hex[33];

	digest_format(key, hex);
	snprintf(path, 48, "%.2s/%s", hex, hex + 2);
}

static int make_folders(char *path)
{
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		int r = mkdir(path, 0700);
		*slash = '/';
		if (r < 0 && errno != EEXIST)
			return -errno;
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

static bool is_empty(int fd)
{
	bool empty = true;
	int copy = dup(fd);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir)
		return false;

	for (const struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			empty = false;
	closedir(dir);
	return empty;
}

/* Writes the format file of a new cache, or checks that of an old one. */
static int check_format(const struct disk_cache *disk, struct error *err)
{
	char text[64] = "";
	AUTO_CLOSE int fd = openat(disk->fd, "format", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, text, sizeof(text) - 1);
		if (n > 0 && strcmp(text, FORMAT) == 0)
			return 0;
		return error_set(err, -EINVAL,
				 "%s: a cache of another version; name another "
				 "directory with --cache, or remove this one",
				 disk->directory);
	}
	if (errno != ENOENT)
		return error_set(err, -errno, "%s/format: %s", disk->directory,
				 strerror(errno));
	if (!is_empty(disk->fd))
		return error_set(err, -EINVAL,
				 "%s: not a cache, and not empty; name an "
				 "empty or a new directory with --cache",
				 disk->directory);

	AUTO_CLOSE int out = openat(disk->fd, "format",
				    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	size_t size = strlen(FORMAT);
	if (out < 0 || write(out, FORMAT, size) != (ssize_t)size)
		return error_set(err, -errno, "%s/format: %s", disk->directory,
				 strerror(errno));
	return 0;
}

static int open_directory(struct disk_cache *disk, struct error *err)
{
	int r = make_folders(disk->directory);
	if (r < 0)
		return error_set(err, r, "cannot make cache directory %s: %s",
				 disk->directory, strerror(-r));
	disk->fd = open(disk->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	if (disk->fd < 0 || fstat(disk->fd, &st) < 0)
		return error_set(err, -errno, "cannot open cache %s: %s",
				 disk->directory, strerror(errno));
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(
			err, -EPERM,
			"cache %s may be written by others: chmod go-w %s",
			disk->directory, disk->directory);
	return check_format(disk, err);
}

int disk_cache_open(const struct disk_options *options, struct disk_cache **ret,
		    struct error *err)
{
	AUTO(disk_cache) disk = calloc(1, sizeof(*disk));
	if (!disk)
		return error_set(err, -ENOMEM, "out of memory");
	disk->fd = -1;
	disk->directory = strdup(options->directory);
	if (!disk->directory)
		return error_set(err, -ENOMEM, "out of memory");

	int r = open_directory(disk, err);
	if (r < 0)
		return r;
	disk->budget = options->size;
	struct statvfs fs;
	if (!disk->budget && fstatvfs(disk->fd, &fs) == 0)
		disk->budget = (uint64_t)fs.f_bavail * fs.f_frsize / 2;
	*ret = TAKE(disk);
	return 0;
}

void disk_cache_close(struct disk_cache *disk)
{
	if (!disk)
		return;
	if (disk->fd >= 0)
		close(disk->fd);
	free(disk->directory);
	free(disk);
}

static bool read_full(int fd, void *data, size_t size, off_t offset)
{
	while (size > 0) {
		ssize_t n = pread(fd, data, size, offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data = (char *)data + n;
		size -= (size_t)n;
		offset += n;
	}
	return true;
}

static bool load_block(int fd, struct digest key, void *data, size_t size)
{
	struct header header;
	struct stat st;
	if (fstat(fd, &st) < 0 ||
	    (uint64_t)st.st_size != sizeof(header) + size ||
	    !read_full(fd, &header, sizeof(header), 0) ||
	    !read_full(fd, data, size, sizeof(header)))
		return false;

	struct header right = make_header(key, data, size);
	return memcmp(&header, &right, sizeof(header)) == 0;
}

int disk_cache_load(struct disk_cache *disk, struct digest key, void *data,
		    size_t size)
{
	char path[48];
	block_path(key, path);
	AUTO_CLOSE int fd =
		openat(disk->fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0) {
		atomic_fetch_add(&disk->absent, 1);
		return -ENOENT;
	}
	if (load_block(fd, key, data, size)) {
		atomic_fetch_add(&disk->loaded, 1);
		return 0;
	}
	atomic_fetch_add(&disk->bad, 1);
	unlinkat(disk->fd, path, 0);
	return -ENOENT;
}

/* Is there room, by the budget and on the file system? */
static bool has_room(struct disk_cache *disk, size_t size)
{
	struct statvfs fs;

	if (now() < atomic_load(&disk->paused_until))
		return false;
	if (atomic_load(&disk->used) + size > disk->budget)
		return false;
	if (fstatvfs(disk->fd, &fs) < 0)
		return false;
	return fs.f_bavail > fs.f_blocks / LEAST_FREE;
}

static int write_full(int fd, const struct header *header, const void *data,
		      size_t size)
{
	struct iovec iov[] = {
		{(void *)header, sizeof(*header)},
		{(void *)data, size},
	};
	size_t total = sizeof(*header) + size;
	ssize_t n = writev(fd, iov, 2);
	if (n < 0)
		return -errno;
	if ((size_t)n == total)
		return 0;

	/* Cut short: a full disk answers the rest with its reason. */
	if ((size_t)n < sizeof(*header))
		return -EIO;
	const char *rest = (const char *)data + ((size_t)n - sizeof(*header));
	size_t left = total - (size_t)n;
	while (left > 0) {
		n = write(fd, rest, left);
		if (n < 0)
			return -errno;
		rest += n;
		left -= (size_t)n;
	}
	return 0;
}

static int publish(struct disk_cache *disk, const char *temporary,
		   const char *path, const struct header *header,
		   const void *data, size_t size)
{
	int fd = openat(disk->fd, temporary,
			O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int r = write_full(fd, header, data, size);
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(disk->fd, temporary, disk->fd, path) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(disk->fd, temporary, 0);
	return r;
}

/* No fsync: a block that a crash tears fails its checksum later. */
static int store_block(struct disk_cache *disk, struct digest key,
		       const void *data, size_t size)
{
	struct header header = make_header(key, data, size);
	char path[48], temporary[80];
	block_path(key, path);
	snprintf(temporary, sizeof(temporary), "%.2s/.%ld.%lu", path,
		 (long)getpid(),
		 (unsigned long)atomic_fetch_add(&disk->n_temporary, 1));

	int r = publish(disk, temporary, path, &header, data, size);
	if (r != -ENOENT)
		return r;
	char folder[3] = {path[0], path[1], '\0'};
	if (mkdirat(disk->fd, folder, 0700) < 0 && errno != EEXIST)
		return -errno;
	return publish(disk, temporary, path, &header, data, size);
}

void disk_cache_store(struct disk_cache *disk, struct digest key,
		      const void *data, size_t size)
{
	if (!has_room(disk, size))
		return;

	int r = store_block(disk, key, data, size);
	if (r < 0) {
		atomic_fetch_add(&disk->failed, 1);
		atomic_store(&disk->paused_until, now() + PAUSE);
		return;
	}
	atomic_fetch_add(&disk->stored, 1);
	atomic_fetch_add(&disk->used,
			 round_up(sizeof(struct header) + size, 4096));
}

void disk_cache_counters(struct disk_cache *disk, struct disk_counters *ret)
{
	*ret = (struct disk_counters){
		.loaded = atomic_load(&disk->loaded),
		.absent = atomic_load(&disk->absent),
		.bad = atomic_load(&disk->bad),
		.stored = atomic_load(&disk->stored),
		.failed = atomic_load(&disk->failed),
		.used = atomic_load(&disk->used),
	};
}
