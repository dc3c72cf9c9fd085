#include "merge/source/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "util/fault.h"
#include "util/range.h"

/* What a file's content depends on: its blob's name, else its inode and times.
 */
static int identify(struct file *file, const char *etag)
{
	struct hasher *hasher = hasher_new("file");
	if (!hasher)
		return -ENOMEM;

	const struct stat *st = &file->stat;
	hasher_string(hasher, etag);
	hasher_u64(hasher, file->size);
	if (!etag) {
		hasher_u64(hasher, st->st_dev);
		hasher_u64(hasher, st->st_ino);
		hasher_u64(hasher, (uint64_t)st->st_mtim.tv_sec);
		hasher_u64(hasher, (uint64_t)st->st_mtim.tv_nsec);
		hasher_u64(hasher, (uint64_t)st->st_ctim.tv_sec);
		hasher_u64(hasher, (uint64_t)st->st_ctim.tv_nsec);
	}
	file->identity = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

static int map_file(struct file *file)
{
	if (file->size == 0)
		return 0;

	void *map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	file->map = map;
	return 0;
}

int file_open(int at, const char *relative, const char *path, const char *etag,
	      struct file **ret, struct error *err)
{
	AUTO(file) file = calloc(1, sizeof(*file));
	if (!file)
		return error_set(err, -ENOMEM, "out of memory");
	/* A fifo in place of a file must not hang us. */
	file->fd = openat(at, relative, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	file->path = strdup(path);
	if (!file->path)
		return error_set(err, -ENOMEM, "out of memory");
	if (file->fd < 0 || fstat(file->fd, &file->stat) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(file->stat.st_mode))
		return error_set(err, -EINVAL, "%s: not a regular file", path);

	file->size = (uint64_t)file->stat.st_size;
	int r = map_file(file);
	if (r == 0)
		r = identify(file, etag);
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	*ret = TAKE(file);
	return 0;
}

void file_close(struct file *file)
{
	if (!file)
		return;
	if (file->map)
		munmap((void *)file->map, file->size);
	if (file->fd >= 0)
		close(file->fd);
	free(file->path);
	free(file);
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

int file_check(const struct file *file)
{
	const struct stat *then = &file->stat;
	struct stat now;

	if (fstat(file->fd, &now) < 0)
		return -errno;
	if (now.st_size != then->st_size ||
	    !same_time(now.st_mtim, then->st_mtim) ||
	    !same_time(now.st_ctim, then->st_ctim))
		return -ESTALE;
	return 0;
}

struct copy {
	void *to;
	const void *from;
	size_t size;
};

static void copy_body(void *arg)
{
	const struct copy *copy = arg;

	memcpy(copy->to, copy->from, copy->size);
}

int file_read(const struct file *file, uint64_t offset, size_t size, void *data)
{
	if (size == 0)
		return 0;

	struct copy copy = {data, file->map + offset, size};
	int r = fault_guard(copy_body, &copy);
	if (r < 0)
		return r;
	return file_check(file);
}

void file_forget(const struct file *file, uint64_t offset, size_t size)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t first = round_up(offset, page);
	uint64_t end = (offset + size) / page * page;

	if (file->map && first < end)
		madvise((void *)(file->map + first), end - first,
			MADV_DONTNEED);
}
