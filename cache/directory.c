#include "cache/directory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/macros.h"

#define FORMAT "mkfs-mount cache 2\n"

static int make_folders(const char *name)
{
	AUTO_FREE char *path = strdup(name);
	if (!path)
		return -ENOMEM;
	for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		int r = mkdir(path, 0700);
		*slash = '/';
		if (r < 0 && errno != EEXIST)
			return -errno;
	}
	return mkdir(path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Could we have made it? A removal of the cache that was cut short, or went on
 * while blocks were stored, leaves folders and no format. */
static bool is_ours(const char *name)
{
	static const char digits[] = "0123456789abcdef";

	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	       strcmp(name, "lock") == 0 || strncmp(name, ".format.", 8) == 0 ||
	       (strlen(name) == 2 && strspn(name, digits) == 2);
}

static bool holds_only_ours(int fd)
{
	bool ours = true;
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	if (!dir) {
		if (copy >= 0)
			close(copy);
		return false;
	}

	for (const struct dirent *entry; (entry = readdir(dir));)
		ours = ours && is_ours(entry->d_name);
	closedir(dir);
	return ours;
}

/* -ENOENT without a format file, -EINVAL with one that is not ours. */
static int read_format(int fd)
{
	char text[64] = "";
	AUTO_CLOSE int file =
		openat(fd, "format", O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file < 0)
		return -errno;
	ssize_t n = read(file, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	return strcmp(text, FORMAT) == 0 ? 0 : -EINVAL;
}

/* Whole or not at all, since another process may be opening it, too. */
static int write_format(const char *path, int fd)
{
	AUTO_FREE char *temporary = NULL;
	if (asprintf(&temporary, "%s/.format.XXXXXX", path) < 0) {
		temporary = NULL;
		return -ENOMEM;
	}
	AUTO_CLOSE int file = mkostemp(temporary, O_CLOEXEC);
	if (file < 0)
		return -errno;
	ssize_t n = write(file, FORMAT, strlen(FORMAT));
	int r = n == (ssize_t)strlen(FORMAT) ? 0 : n < 0 ? -errno : -ENOSPC;
	if (r == 0 && renameat(AT_FDCWD, temporary, fd, "format") < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

/* Writes the format file of a new cache, or checks that of an old one. */
static int check_format(const char *path, int fd, bool make, struct error *err)
{
	int r = read_format(fd);
	if (r == -ENOENT && !make)
		return error_set(err, -EINVAL, "%s: not a cache", path);
	if (r == -ENOENT && holds_only_ours(fd)) {
		r = write_format(path, fd);
	} else if (r == -ENOENT) {
		r = read_format(fd); /* it may be another's, just now */
		if (r == -ENOENT)
			return error_set(err, -EINVAL,
					 "%s: not a cache, and not empty; name "
					 "an empty or a new directory with "
					 "--cache",
					 path);
	}
	if (r == -EINVAL)
		return error_set(err, r,
				 "%s: a cache of another version; name another "
				 "directory with --cache, or remove this one",
				 path);
	if (r < 0)
		return error_set(err, r, "%s/format: %s", path, strerror(-r));
	return 0;
}

/* Whoever may write to it may change what readers get. */
static int check_owner(const char *path, int fd, struct error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set(err, -errno, "cannot open cache %s: %s", path,
				 strerror(errno));
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return error_set(err, -EPERM,
				 "cache %s belongs to another user; name a "
				 "directory of your own with --cache",
				 path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(
			err, -EPERM,
			"cache %s may be written by others: chmod go-w %s",
			path, path);
	return 0;
}

static int open_judged(const char *path, bool make, int *ret, struct error *err)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "cannot open cache %s: %s", path,
				 strerror(errno));
	int r = check_owner(path, fd, err);
	if (r < 0)
		return r;
	r = check_format(path, fd, make, err);
	if (r < 0)
		return r;
	*ret = fd;
	fd = -1;
	return 0;
}

int directory_open(const char *path, int *ret, struct error *err)
{
	if (!*path)
		return error_set(err, -EINVAL,
				 "the cache directory has no name; name one "
				 "with --cache, or `none`");
	int r = make_folders(path);
	if (r < 0)
		return error_set(err, r, "cannot make cache directory %s: %s",
				 path, strerror(-r));
	return open_judged(path, true, ret, err);
}

int directory_find(const char *path, int *ret, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set(err, -errno, "no cache %s: %s", path,
				 strerror(errno));
	return open_judged(path, false, ret, err);
}

char *directory_default(void)
{
	const char *base = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	char *path = NULL;
	int r = -1;

	if (geteuid() == 0)
		r = asprintf(&path, "/var/cache/mkfs-mount");
	else if (base && *base == '/')
		r = asprintf(&path, "%s/mkfs-mount", base);
	else if (home && *home == '/')
		r = asprintf(&path, "%s/.cache/mkfs-mount", home);
	return r < 0 ? NULL : path;
}
