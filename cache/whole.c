#include "cache/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cache/counters.h"
#include "cache/disk.h"
#include "cache/walk.h"

#define SUFFIX ".file"
#define PATH_SIZE (WALK_PATH_SIZE + sizeof(SUFFIX))
#define FRESH 3600 /* seconds that a use is remembered for */

struct whole {
	struct disk_cache *disk; /* borrowed */
	struct digest key;
	uint64_t size;
	int fd;
	char temporary[80]; /* "": there is none */
};

/* What a file is known by. */
struct identity {
	uint64_t size, inode;
	int64_t mtime, mtime_nsec, ctime, ctime_nsec;
};

static struct identity identity_of(const struct stat *st)
{
	return (struct identity){
		.size = (uint64_t)st->st_size,
		.inode = st->st_ino,
		.mtime = st->st_mtim.tv_sec,
		.mtime_nsec = st->st_mtim.tv_nsec,
		.ctime = st->st_ctim.tv_sec,
		.ctime_nsec = st->st_ctim.tv_nsec,
	};
}

static struct digest identity_key(struct digest key)
{
	return digest_of(&key, sizeof(key), 1);
}

static void make_path(struct digest key, char path[PATH_SIZE])
{
	walk_path(key, path);
	strcat(path, SUFFIX);
}

static int keep_identity(struct disk_cache *disk, struct digest key, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	struct identity identity = identity_of(&st);
	return disk_cache_store(disk, identity_key(key), &identity,
				sizeof(identity), 1);
}

/* For whoever looks for what is used least. */
static void note_use(struct disk_cache *disk, struct digest key, int fd,
		     const struct stat *st)
{
	if (time(NULL) - st->st_mtim.tv_sec < FRESH)
		return;
	if (futimens(fd, NULL) == 0)
		keep_identity(disk, key, fd);
}

int whole_open(struct disk_cache *disk, struct digest key, uint64_t size)
{
	struct identity kept;
	char path[PATH_SIZE];
	struct stat st;

	make_path(key, path);
	AUTO_CLOSE int fd = openat(disk_cache_directory(disk), path,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != size ||
	    !S_ISREG(st.st_mode) ||
	    disk_cache_load(disk, identity_key(key), &kept, sizeof(kept)) < 0)
		return -ENOENT;
	struct identity now = identity_of(&st);
	if (memcmp(&kept, &now, sizeof(now)) != 0)
		return -ENOENT;
	note_use(disk, key, fd, &st);
	int r = fd;
	fd = -1;
	return r;
}

static bool has_room(struct disk_cache *disk, uint64_t size)
{
	struct cache_counters counters = {0};
	struct statvfs fs;

	disk_cache_counters(disk, &counters);
	if (fstatvfs(disk_cache_directory(disk), &fs) < 0)
		return false;
	uint64_t free_size = (uint64_t)fs.f_bavail * fs.f_frsize;
	uint64_t least = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
	return free_size > least && size < free_size - least &&
	       counters.used + size <= counters.budget;
}

int whole_begin(struct disk_cache *disk, struct digest key, uint64_t size,
		struct whole **ret)
{
	char path[WALK_PATH_SIZE];
	uint64_t random = 0;

	if (!has_room(disk, size))
		return -ENOSPC;
	AUTO(whole) whole = calloc(1, sizeof(*whole));
	if (!whole)
		return -ENOMEM;
	*whole = (struct whole){disk, key, size, -1, ""};
	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0)
		random = (uint64_t)getpid();
	walk_path(key, path);
	path[2] = '\0';
	int dir = disk_cache_directory(disk);
	if (mkdirat(dir, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	snprintf(whole->temporary, sizeof(whole->temporary),
		 "%s/.%016" PRIx64 ".file", path, random);
	whole->fd = openat(dir, whole->temporary,
			   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	if (whole->fd < 0) {
		int r = -errno;
		whole->temporary[0] = '\0';
		return r;
	}
	flock(whole->fd, LOCK_EX | LOCK_NB); /* says that it is in use */
	*ret = TAKE(whole);
	return 0;
}

int whole_fd(const struct whole *whole)
{
	return whole->fd;
}

int whole_publish(struct whole *whole)
{
	int dir = disk_cache_directory(whole->disk);
	char path[PATH_SIZE];
	struct stat st;

	if (fstat(whole->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != whole->size)
		return -EINVAL;
	/* A crash must not leave a file of the right size and other bytes. */
	if (fdatasync(whole->fd) < 0)
		return -errno;
	make_path(whole->key, path);
	if (renameat(dir, whole->temporary, dir, path) < 0)
		return -errno;
	whole->temporary[0] = '\0';
	disk_cache_took(whole->disk, (uint64_t)st.st_blocks * 512);
	return keep_identity(whole->disk, whole->key, whole->fd);
}

void whole_free(struct whole *whole)
{
	if (!whole)
		return;
	if (whole->temporary[0])
		unlinkat(disk_cache_directory(whole->disk), whole->temporary,
			 0);
	if (whole->fd >= 0)
		close(whole->fd);
	free(whole);
}
