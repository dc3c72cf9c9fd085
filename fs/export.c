#include "fs/export.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/failure.h"
#include "fs/pipeline.h"
#include "fs/progress.h"
#include "fs/signals.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "util/io.h"
#include "util/range.h"
#include "util/text.h"

int export_judge(const char *directory, unsigned long long size,
		 struct error *err)
{
	AUTO_FREE char *copy = strdup(directory);
	char needed[16], free_space[16];
	struct statvfs fs;
	struct stat st;

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	if (lstat(directory, &st) == 0)
		return error_set(err, -EEXIST,
				 "%s: exists already; choose a name that is "
				 "free, or remove it",
				 directory);
	const char *parent = dirname(copy);
	if (statvfs(parent, &fs) < 0)
		return error_set(err, -errno, "%s: %s", parent,
				 strerror(errno));
	unsigned long long room = (unsigned long long)fs.f_bavail * fs.f_frsize;
	if (size > room)
		return error_set(err, -ENOSPC,
				 "%s: no room: the merge is %s, and %s are "
				 "free",
				 directory, text_format_size(size, needed),
				 text_format_size(room, free_space));
	return 0;
}

/* A file being written. */
struct target {
	const char *path; /* for sentences */
	int fd;
	struct progress *progress;
	struct error *err;
};

static int write_piece(void *arg, const struct iovec *iov, size_t n_iov,
		       uint64_t offset, size_t size)
{
	struct target *target = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n_iov; i++) {
		r = io_write(target->fd, iov[i].iov_base, iov[i].iov_len,
			     offset);
		offset += iov[i].iov_len;
	}
	if (r < 0)
		return error_set(target->err, r, "%s: cannot be written: %s",
				 target->path, strerror(-r));
	progress_add(target->progress, size);
	return 0;
}

/* What an export works on. */
struct exporting {
	const struct merge *merge;
	struct pipeline *pipeline;
	struct progress progress;
	int base; /* descriptor of the temporary directory */
};

static int write_file(struct exporting *exporting, uint32_t i, const char *path,
		      struct error *err)
{
	uint64_t offset = UINT64_MAX;
	AUTO_CLOSE int fd =
		openat(exporting->base, path,
		       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	struct target target = {path, fd, &exporting->progress, err};

	if (fd < 0)
		return error_set(err, -errno, "%s: cannot be made: %s", path,
				 strerror(errno));
	int r = pipeline_file(exporting->pipeline, i, write_piece, &target,
			      &offset);
	if (offset != UINT64_MAX)
		failure_describe(exporting->merge, i, offset, BLOCK_SIZE, r,
				 err);
	return r;
}

/* A folder comes before what is in it. */
static int write_entries(struct exporting *exporting, struct error *err)
{
	uint32_t n;
	const struct image_entry *entries =
		image_entries(exporting->merge->image, &n);
	int r = 0;

	for (uint32_t i = 1; r == 0 && i < n; i++) {
		const char *path = entries[i].path;
		if (!entries[i].directory)
			r = write_file(exporting, i, path, err);
		else if (mkdirat(exporting->base, path, 0777) < 0)
			r = error_set(err, -errno, "%s: cannot be made: %s",
				      path, strerror(errno));
	}
	return r;
}

static int write_into(const struct merge *merge, const char *directory,
		      struct error *err)
{
	AUTO(pipeline) pipeline = NULL;
	struct exporting exporting = {.merge = merge};
	AUTO_CLOSE int base = open(directory, O_RDONLY | O_DIRECTORY);
	AUTO_CLOSE int signals = signals_open();

	int r = base < 0 || signals < 0 ? -errno : 0;
	if (r == 0)
		r = pipeline_new(merge, signals, &pipeline);
	if (r < 0)
		return error_set(err, r, "%s: %s", directory, strerror(-r));
	exporting.base = base;
	exporting.pipeline = pipeline;
	progress_begin(&exporting.progress, image_size(merge->image));
	r = write_entries(&exporting, err);
	progress_end(&exporting.progress);
	if (r == -EINTR)
		pipeline = NULL; /* its reads are in flight */
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

/* ".NAME.partial-XXXXXX" beside directory. */
static int make_beside(const char *directory, char **ret, struct error *err)
{
	AUTO_FREE char *head = strdup(directory);
	AUTO_FREE char *tail = strdup(directory);
	AUTO_FREE char *path = NULL;
	uint32_t random = 0;

	if (getrandom(&random, sizeof(random), 0) < 0)
		random = (uint32_t)getpid();
	if (!head || !tail ||
	    asprintf(&path, "%s/.%s.partial-%06x", dirname(head),
		     basename(tail), random & 0xffffff) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (mkdir(path, 0777) < 0)
		return error_set(err, -errno, "%s: cannot be made: %s", path,
				 strerror(errno));
	*ret = TAKE(path);
	return 0;
}

/* Never over something that came there meanwhile, even if it is empty. */
static int publish(const char *from, const char *to, struct error *err)
{
	int r = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);

	if (r < 0 && (errno == EINVAL || errno == ENOSYS))
		r = rename(from, to);
	if (r < 0)
		return error_set(err, -errno, "%s: %s", to, strerror(errno));
	return 0;
}

int export_merge(const struct merge *merge, const char *directory,
		 struct error *err)
{
	AUTO_FREE char *temporary = NULL;

	int r = make_beside(directory, &temporary, err);
	if (r < 0)
		return r;
	r = write_into(merge, temporary, err);
	if (r == 0)
		r = publish(temporary, directory, err);
	if (r < 0)
		nftw(temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return r;
}
