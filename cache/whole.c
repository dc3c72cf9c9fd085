#include "cache/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/disk.h"
#include "cache/walk.h"
#include "util/range.h"

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

/* Sets all but the checksum. */
static void mark_file(struct whole_mark *mark, const struct stat *st)
{
	mark->size = (uint64_t)st->st_size;
	mark->inode = st->st_ino;
	mark->mtime = st->st_mtim.tv_sec;
	mark->mtime_nsec = st->st_mtim.tv_nsec;
	mark->ctime = st->st_ctim.tv_sec;
	mark->ctime_nsec = st->st_ctim.tv_nsec;
}

struct digest whole_mark_key(struct digest key)
{
	return digest_of(&key, sizeof(key), 2);
}

/* Checksum of the first size bytes. */
static int find_content(int fd, uint64_t size, struct digest *ret)
{
	AUTO_FREE unsigned char *data = malloc(BLOCK_SIZE);
	struct hasher *hasher = hasher_new("mkfs-mount whole 1");
	int r = data && hasher ? 0 : -ENOMEM;

	for (uint64_t at = 0; r == 0 && at < size;) {
		size_t want = min_u64(BLOCK_SIZE, size - at);
		ssize_t n = pread(fd, data, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)want)
			r = n < 0 ? -errno : -EIO;
		else
			hasher_bytes(hasher, data, want);
		at += want;
	}
	if (r == 0)
		*ret = hasher_finish(hasher);
	hasher_free(hasher);
	return r;
}

bool whole_matches(const struct whole_mark *mark, int fd)
{
	struct digest content;

	return find_content(fd, mark->size, &content) == 0 &&
	       digest_equal(content, mark->content);
}

static void make_path(struct digest key, char path[PATH_SIZE])
{
	walk_path(key, path);
	strcat(path, SUFFIX);
}

static int keep_mark(struct disk_cache *disk, struct digest key, int fd,
		     struct whole_mark *mark)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	mark_file(mark, &st);
	return disk_cache_store(disk, whole_mark_key(key), mark, sizeof(*mark),
				1);
}

static int open_marked(struct disk_cache *disk, struct digest key,
		       uint64_t size, struct whole_mark *ret)
{
	char path[PATH_SIZE];
	struct stat st;

	make_path(key, path);
	AUTO_CLOSE int fd = openat(disk_cache_directory(disk), path,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != size ||
	    !S_ISREG(st.st_mode) ||
	    disk_cache_load(disk, whole_mark_key(key), ret, sizeof(*ret)) < 0)
		return -ENOENT;
	struct whole_mark now = *ret;
	mark_file(&now, &st);
	if (memcmp(ret, &now, sizeof(now)) != 0)
		return -ENOENT;
	int r = fd;
	fd = -1;
	return r;
}

int whole_open(struct disk_cache *disk, struct digest key, uint64_t size)
{
	struct whole_mark mark;

	return open_marked(disk, key, size, &mark);
}

void whole_note_use(struct disk_cache *disk, struct digest key, uint64_t size)
{
	struct whole_mark mark;
	AUTO_CLOSE int fd = open_marked(disk, key, size, &mark);

	if (fd >= 0 && time(NULL) - mark.mtime >= FRESH &&
	    futimens(fd, NULL) == 0)
		keep_mark(disk, key, fd, &mark);
}

int whole_begin(struct disk_cache *disk, struct digest key, uint64_t size,
		struct whole **ret)
{
	char path[WALK_PATH_SIZE];
	uint64_t random = 0;

	if (!disk_cache_fits(disk, size))
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
	struct whole_mark mark = {0};
	struct stat st;

	if (fstat(whole->fd, &st) < 0)
		return -errno;
	if ((uint64_t)st.st_size != whole->size)
		return -EINVAL;
	/* A crash must not leave a file of the right size and other bytes. */
	if (fdatasync(whole->fd) < 0)
		return -errno;
	int r = find_content(whole->fd, whole->size, &mark.content);
	if (r < 0)
		return r;
	make_path(whole->key, path);
	if (renameat(dir, whole->temporary, dir, path) < 0)
		return -errno;
	whole->temporary[0] = '\0';
	disk_cache_took(whole->disk, (uint64_t)st.st_blocks * 512);
	return keep_mark(whole->disk, whole->key, whole->fd, &mark);
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
