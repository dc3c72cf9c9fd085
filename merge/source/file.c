#include "merge/source/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "merge/source/view.h"
#include "util/io.h"

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
	int r = identify(file, etag);
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	*ret = TAKE(file);
	return 0;
}

int file_of_bytes(const char *path, const void *data, size_t size,
		  struct file **ret, struct error *err)
{
	static const struct timespec times[2];
	AUTO(file) file = calloc(1, sizeof(*file));
	if (!file)
		return error_set(err, -ENOMEM, "out of memory");
	file->fd = memfd_create("computed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	file->path = strdup(path);
	if (!file->path)
		return error_set(err, -ENOMEM, "out of memory");

	int r = file->fd < 0 ? -errno : io_write(file->fd, data, size, 0);
	if (r == 0 && (futimens(file->fd, times) < 0 ||
		       fcntl(file->fd, F_ADD_SEALS,
			     F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0 ||
		       fstat(file->fd, &file->stat) < 0))
		r = -errno;
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	file->size = size;
	file->identity = digest_of(data, size, 0);
	*ret = TAKE(file);
	return 0;
}

uint64_t file_memory(const struct file *file)
{
	/* Nothing else here has no name from the beginning. */
	return file->stat.st_nlink == 0 ? file->size : 0;
}

int file_share(const struct file *file, struct file **ret, struct error *err)
{
	AUTO(file) shared = calloc(1, sizeof(*shared));
	if (!shared)
		return error_set(err, -ENOMEM, "out of memory");
	*shared = *file;
	shared->view = NULL;
	shared->fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	shared->path = strdup(file->path);
	if (!shared->path)
		return error_set(err, -ENOMEM, "out of memory");
	if (shared->fd < 0)
		return error_set(err, -errno, "%s: %s", file->path,
				 strerror(errno));
	*ret = TAKE(shared);
	return 0;
}

int file_load(const struct file *file, uint64_t most, char **ret,
	      struct error *err)
{
	if (file->size > most)
		return error_set(err, -EINVAL, "%s: absurdly large",
				 file->path);

	AUTO_FREE char *data = malloc(file->size + 1);
	if (!data)
		return error_set(err, -ENOMEM, "out of memory");
	int r = file_read(file, 0, file->size, data);
	if (r < 0)
		return error_set(err, r, "%s: %s", file->path, strerror(-r));
	data[file->size] = '\0';
	*ret = TAKE(data);
	return 0;
}

void file_close(struct file *file)
{
	if (!file)
		return;
	view_free(file->view);
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

int file_fetch(const struct file *file, uint64_t offset, size_t size,
	       void *data)
{
	return io_read(file->fd, data, size, offset) < 0 ? -EIO : 0;
}

void file_map(struct file *file)
{
	if (file->size > 0)
		file->view = view_new(file->fd, file->size);
}

/* Is this byte in the page cache? */
static bool is_at_hand(const struct file *file, uint64_t offset)
{
	char byte;
	struct iovec iov = {&byte, 1};

	return preadv2(file->fd, &iov, 1, (off_t)offset, RWF_NOWAIT) == 1;
}

/* The ends stand for the rest: reads come in order, and go in large pieces. */
const unsigned char *file_look(const struct file *file, uint64_t offset,
			       size_t size)
{
	if (!file->view || view_torn(file->view) ||
	    !is_at_hand(file, offset + size - 1) || !is_at_hand(file, offset))
		return NULL;
	return view_data(file->view) + offset;
}

void file_let_go(const struct file *file, uint64_t offset, size_t size)
{
	view_let_go(file->view, offset, size);
}

bool file_torn(const struct file *file)
{
	return file->view && view_torn(file->view);
}

int file_read(const struct file *file, uint64_t offset, size_t size, void *data)
{
	int r = file_fetch(file, offset, size, data);

	return r < 0 ? r : file_check(file);
}
