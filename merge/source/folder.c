#include "merge/source/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/source/file.h"

/* .../models--ORG--NAME/snapshots/COMMIT has its files in ../../blobs. */
static char *find_blobs(const char *real)
{
	char *path = NULL;
	const char *snapshots = strstr(real, "/snapshots/");
	if (!snapshots || !strstr(real, "/models--"))
		return NULL;
	if (asprintf(&path, "%.*s/blobs", (int)(snapshots - real), real) < 0)
		return NULL;

	char *blobs = realpath(path, NULL);
	free(path);
	return blobs;
}

int folder_init(struct folder *folder, const char *path, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return error_set(
			err, -ENOTDIR,
			"%s: not a directory; name a model's directory", path);

	folder->path = strdup(path);
	folder->real = realpath(path, NULL);
	if (!folder->path || !folder->real) {
		folder_done(folder);
		return error_set(err, -ENOMEM, "out of memory");
	}
	folder->blobs = find_blobs(folder->real);
	return 0;
}

void folder_done(struct folder *folder)
{
	free(folder->path);
	free(folder->real);
	free(folder->blobs);
	*folder = (struct folder){0};
}

bool folder_is_inside(const char *relative)
{
	if (*relative == '/' || *relative == '\0')
		return false;
	for (const char *part = relative; part; part = strchr(part, '/')) {
		part += *part == '/';
		size_t length = strcspn(part, "/");
		if (length == 2 && strncmp(part, "..", 2) == 0)
			return false;
	}
	return true;
}

static bool is_below(const char *path, const char *folder)
{
	size_t length = folder ? strlen(folder) : 0;

	return length > 0 && strncmp(path, folder, length) == 0 &&
	       path[length] == '/';
}

int folder_open(const struct folder *folder, const char *relative,
		struct file **ret, struct error *err)
{
	AUTO_FREE char *path = NULL;
	if (asprintf(&path, "%s/%s", folder->path, relative) < 0) {
		path = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	if (!folder_is_inside(relative))
		return error_set(
			err, -EINVAL,
			"%s: the name '%s' leads out of the model's directory",
			folder->path, relative);

	AUTO_FREE char *real = realpath(path, NULL);
	if (!real && (errno == ENOENT || errno == ENOTDIR))
		return -ENOENT;
	if (!real)
		return error_set(err, -EINVAL, "%s: %s", path, strerror(errno));
	bool blob = is_below(real, folder->blobs);
	if (!blob && !is_below(real, folder->real))
		return error_set(
			err, -EINVAL,
			"%s is a link out of the model's directory; copy or "
			"hard-link the file, or name the other directory",
			path);
	return file_open(AT_FDCWD, real, path,
			 blob ? strrchr(real, '/') + 1 : NULL, ret, err);
}
