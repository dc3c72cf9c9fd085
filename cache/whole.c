#include "cache/whole.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/block.h"
#include "cache/disk.h"
#include "cache/walk.h"
#include "util/io.h"
#include "util/range.h"

#define PATH_SIZE (WALK_PATH_SIZE + sizeof(WALK_WHOLE_SUFFIX))
#define TRIES 8
#define FRESH 60 /* seconds within which a use is not noted again */

/* So much is written between two waits for the disk, each of which is short. */
#define SYNC_SIZE (16 * BLOCK_SIZE)

struct mark {
	struct digest key;
	uint64_t size, inode;
	int64_t mtime, mtime_nsec, ctime, ctime_nsec;
	struct digest content; /* of the file's bytes */
	struct digest sum;     /* of the fields above */
};

struct whole {
	struct disk_cache *disk; /* borrowed */
	struct digest key;
	uint64_t size;
	uint64_t written, synced;
	struct hasher *hasher; /* owned */
	void *piece;	       /* (BLOCK_SIZE,) owned; NULL until it is used */
	bool copying;	       /* the kernel can copy from file to file */
	int fd;
	char temporary[PATH_SIZE + 1]; /* "": there is none */
};

static void make_path(struct digest key, const char *suffix,
		      char path[PATH_SIZE])
{
	walk_path(key, path);
	strcat(path, suffix);
}

/* Of a file of so many bytes, which are to follow. */
static struct hasher *new_hasher(uint64_t size)
{
	struct hasher *hasher = hasher_new("mkfs-mount whole 2");

	if (hasher)
		hasher_u64(hasher, size);
	return hasher;
}

static void mark_times(struct mark *mark, const struct stat *st)
{
	mark->size = (uint64_t)st->st_size;
	mark->inode = st->st_ino;
	mark->mtime = st->st_mtim.tv_sec;
	mark->mtime_nsec = st->st_mtim.tv_nsec;
	mark->ctime = st->st_ctim.tv_sec;
	mark->ctime_nsec = st->st_ctim.tv_nsec;
}

static struct digest sum_of(const struct mark *mark)
{
	return digest_of(mark, offsetof(struct mark, sum), 2);
}

static int load_mark(int dir, struct digest key, struct mark *ret)
{
	char path[PATH_SIZE];

	make_path(key, WALK_MARK_SUFFIX, path);
	AUTO_CLOSE int fd = openat(
		dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || io_read(fd, ret, sizeof(*ret), 0) < 0 ||
	    !digest_equal(ret->key, key) ||
	    !digest_equal(ret->sum, sum_of(ret)))
		return -ENODATA;
	return 0;
}

/* In place: one that is torn is none. */
static int store_mark(int dir, struct mark *mark)
{
	char path[PATH_SIZE];

	mark->sum = sum_of(mark);
	make_path(mark->key, WALK_MARK_SUFFIX, path);
	AUTO_CLOSE int fd = openat(
		dir, path,
		O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : io_write(fd, mark, sizeof(*mark), 0);
}

static int open_file(int dir, struct digest key, struct stat *ret)
{
	char path[PATH_SIZE];

	make_path(key, WALK_WHOLE_SUFFIX, path);
	int fd = openat(dir, path,
			O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0 && (fstat(fd, ret) < 0 || !S_ISREG(ret->st_mode))) {
		close(fd);
		return -ENOENT;
	}
	return fd < 0 ? -ENOENT : fd;
}

int whole_verify(int dir, struct digest key)
{
	AUTO_FREE unsigned char *data = malloc(BLOCK_SIZE);
	struct mark mark;
	struct stat st;

	AUTO_CLOSE int fd = open_file(dir, key, &st);
	int r = fd < 0 ? fd : load_mark(dir, key, &mark);
	if (r < 0)
		return r;
	struct hasher *hasher = new_hasher(mark.size);
	if (!data || !hasher)
		r = -ENOMEM;
	else if ((uint64_t)st.st_size != mark.size)
		r = -EIO;
	for (uint64_t at = 0; r == 0 && at < mark.size; at += BLOCK_SIZE) {
		size_t n = min_u64(BLOCK_SIZE, mark.size - at);
		r = io_read(fd, data, n, at);
		if (r == 0)
			hasher_part(hasher, data, n);
	}
	if (r != -ENOMEM &&
	    (r < 0 || !digest_equal(hasher_finish(hasher), mark.content)))
		r = -EBADMSG;
	hasher_free(hasher);
	return r;
}

int whole_open(struct disk_cache *disk, struct digest key, uint64_t size)
{
	int dir = disk_cache_directory(disk);
	struct mark mark;
	struct stat st;

	int fd = open_file(dir, key, &st);
	if (fd < 0)
		return fd;
	if ((uint64_t)st.st_size == size && load_mark(dir, key, &mark) == 0) {
		struct mark now = mark;
		mark_times(&now, &st);
		if (memcmp(&mark, &now, sizeof(now)) == 0)
			return fd;
	}
	close(fd);
	return -ENOENT;
}

void whole_note_use(struct disk_cache *disk, struct digest key)
{
	char path[PATH_SIZE];

	int dir = disk_cache_directory(disk);
	struct stat st;

	make_path(key, WALK_MARK_SUFFIX, path);
	if (fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	int64_t age = time(NULL) - st.st_mtim.tv_sec;
	if (age < 0 || age > FRESH)
		utimensat(dir, path, NULL, AT_SYMLINK_NOFOLLOW);
}

/* Is the file still the one of that name? Whoever tidied, or made it before us,
 * may have removed or renamed it. */
static bool is_named(int dir, const char *path, int fd)
{
	struct stat own, named;

	return fstat(fd, &own) == 0 &&
	       fstatat(dir, path, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       own.st_ino == named.st_ino && own.st_dev == named.st_dev;
}

/* The one file of that name that is being written; its lock says that it is
 * ours. What a crash left in it is written over. */
static int open_temporary(int dir, const char *path)
{
	for (unsigned i = 0; i < TRIES; i++) {
		AUTO_CLOSE int fd =
			openat(dir, path,
			       O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (!is_named(dir, path, fd))
			continue;
		if (ftruncate(fd, 0) < 0)
			return -errno;
		int r = fd;
		fd = -1;
		return r;
	}
	return -EBUSY;
}

int whole_begin(struct disk_cache *disk, struct digest key, uint64_t size,
		struct whole **ret)
{
	int dir = disk_cache_directory(disk);
	char path[WALK_PATH_SIZE], temporary[PATH_SIZE + 1];

	if (!disk_cache_fits(disk, size))
		return -ENOSPC;
	AUTO(whole) whole = calloc(1, sizeof(*whole));
	if (!whole)
		return -ENOMEM;
	*whole = (struct whole){
		.disk = disk,
		.key = key,
		.size = size,
		.hasher = new_hasher(size),
		.copying = true,
		.fd = -1,
	};
	if (!whole->hasher)
		return -ENOMEM;
	walk_path(key, path);
	snprintf(temporary, sizeof(temporary), "%.2s/.%s%s", path, path + 3,
		 WALK_WHOLE_SUFFIX);
	path[2] = '\0';
	if (mkdirat(dir, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	whole->fd = open_temporary(dir, temporary);
	if (whole->fd < 0)
		return whole->fd;
	strcpy(whole->temporary, temporary);
	*ret = TAKE(whole);
	return 0;
}

/* So many bytes have been written more. */
static int advance(struct whole *whole, size_t size)
{
	whole->written += size;
	if (whole->written - whole->synced < SYNC_SIZE)
		return 0;
	whole->synced = whole->written;
	return fdatasync(whole->fd) < 0 ? -errno : 0;
}

int whole_write(struct whole *whole, const void *data, size_t size)
{
	int r = io_write(whole->fd, data, size, whole->written);

	if (r < 0)
		return r;
	hasher_part(whole->hasher, data, size);
	return advance(whole, size);
}

/* Where the kernel does not copy between these two, it is not asked again. */
static bool copy_range(struct whole *whole, int fd, uint64_t offset,
		       size_t size)
{
	loff_t from = (loff_t)offset, to = (loff_t)whole->written;

	while (whole->copying && size > 0) {
		ssize_t n = copy_file_range(fd, &from, whole->fd, &to, size, 0);
		whole->copying = n > 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return size == 0;
}

int whole_copy(struct whole *whole, int fd, uint64_t offset, size_t size)
{
	if (!whole->piece)
		whole->piece = malloc(BLOCK_SIZE);
	if (!whole->piece)
		return -ENOMEM;
	int r = io_read(fd, whole->piece, size, offset);
	if (r < 0)
		return r;
	if (!copy_range(whole, fd, offset, size))
		return whole_write(whole, whole->piece, size);
	hasher_part(whole->hasher, whole->piece, size);
	return advance(whole, size);
}

int whole_publish(struct whole *whole)
{
	int dir = disk_cache_directory(whole->disk);
	char path[PATH_SIZE];
	struct stat st;
	struct mark mark = {.key = whole->key};

	if (whole->written != whole->size)
		return -EINVAL;
	/* A crash must not leave a file of the right size and other bytes. */
	if (fdatasync(whole->fd) < 0 || fchmod(whole->fd, 0400) < 0)
		return -errno;
	make_path(whole->key, WALK_WHOLE_SUFFIX, path);
	if (renameat(dir, whole->temporary, dir, path) < 0)
		return -errno;
	whole->temporary[0] = '\0';
	if (fstat(whole->fd, &st) < 0)
		return -errno;
	disk_cache_took(whole->disk, (uint64_t)st.st_blocks * 512);
	mark_times(&mark, &st);
	mark.content = hasher_finish(whole->hasher);
	return store_mark(dir, &mark);
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
	hasher_free(whole->hasher);
	free(whole->piece);
	free(whole);
}
