#include "fs/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/mountinfo.h"
#include "merge/engine/shelf.h"
#include "merge/output/merge.h"
#include "merge/source/source.h"
#include "util/macros.h"

/* The resolved parent, and the name behind it. */
static int resolve_parent(const char *path, char **ret)
{
	AUTO_FREE char *head = strdup(path);
	AUTO_FREE char *tail = strdup(path);
	if (!head || !tail)
		return -ENOMEM;

	AUTO_FREE char *parent = realpath(dirname(head), NULL);
	if (!parent)
		return -errno;
	const char *slash = strcmp(parent, "/") == 0 ? "" : "/";
	return asprintf(ret, "%s%s%s", parent, slash, basename(tail)) < 0
		       ? -ENOMEM
		       : 0;
}

int mountpoint_resolve(const char *path, char **ret, struct error *err)
{
	char *real = realpath(path, NULL);
	int r = real ? 0 : -errno;

	if (r == -ENOTCONN || r == -EACCES || r == -EIO)
		r = resolve_parent(path, &real);
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	*ret = real;
	return 0;
}

static int judge_mounted(const char *path, struct error *err)
{
	struct mount_entry entry = {0};
	int r = mountinfo_find(NULL, path, &entry);

	if (r == 0 && strcmp(entry.type, MOUNT_TYPE) == 0)
		r = error_set(err, -EBUSY,
			      "%s: a merge is mounted here already; to unmount "
			      "it: fusermount3 -u %s",
			      path, path);
	else
		r = 0;
	mount_entry_done(&entry);
	return r;
}

static int judge_empty(const char *path, struct error *err)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;
	unsigned n = 0;

	if (!directory)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	while ((entry = readdir(directory)))
		n += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
	closedir(directory);
	if (n > 0)
		return error_set(err, -ENOTEMPTY,
				 "%s: has files in it, which the mount would "
				 "hide; use an empty directory, or -o nonempty",
				 path);
	return 0;
}

int mountpoint_judge(const char *path, bool nonempty, struct error *err)
{
	struct stat st;

	int r = judge_mounted(path, err);
	if (r < 0)
		return r;
	if (stat(path, &st) < 0 && errno == ENOTCONN)
		return error_set(err, -ENOTCONN,
				 "%s: a mount whose process is gone is still "
				 "here; to unmount it: fusermount3 -u %s",
				 path, path);
	if (stat(path, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR,
				 "%s: is not a directory; a merge is mounted "
				 "on a directory",
				 path);
	return nonempty ? 0 : judge_empty(path, err);
}

/* Is the file at or below the directory? A file that is not there yet is where
 * the part of its path that exists is. */
static bool is_below(const char *file, const char *directory)
{
	size_t length = strlen(directory);
	AUTO_FREE char *real = realpath(file, NULL);

	if (!real && errno == ENOENT) {
		AUTO_FREE char *copy = strdup(file);
		const char *parent = copy ? dirname(copy) : file;
		return strcmp(parent, file) != 0 && is_below(parent, directory);
	}
	return real && strncmp(real, directory, length) == 0 &&
	       (real[length] == '/' || real[length] == '\0');
}

static int would_hide(const char *path, const char *hidden, struct error *err)
{
	return error_set(err, -EBUSY,
			 "%s: lies below %s, where the mount would hide it; "
			 "mount on another directory",
			 hidden, path);
}

int mountpoint_judge_cache(const char *path, const char *cache,
			   struct error *err)
{
	if (!cache || strcmp(cache, "none") == 0 || !is_below(cache, path))
		return 0;
	return would_hide(path, cache, err);
}

int mountpoint_judge_merge(const char *path, const struct merge *merge,
			   struct error *err)
{
	const struct merge_options *options = &merge->options;
	const char *hidden = NULL;

	if (is_below(options->recipe, path))
		hidden = options->recipe;
	for (size_t i = 0; i < merge->shelf->n_sources; i++) {
		const char *directory = merge->shelf->sources[i]->directory;
		if (is_below(directory, path))
			hidden = directory;
	}
	return hidden ? would_hide(path, hidden, err) : 0;
}

static bool may_allow_other(void)
{
	FILE *file = fopen("/etc/fuse.conf", "re");
	char line[256], word[32];
	bool found = false;

	if (!file)
		return false;
	while (!found && fgets(line, sizeof(line), file))
		found = sscanf(line, "%31s", word) == 1 &&
			strcmp(word, "user_allow_other") == 0;
	fclose(file);
	return found;
}

static bool has_fusermount(void)
{
	AUTO_FREE char *path = NULL;
	const char *env = getenv("PATH");

	if (access("/usr/bin/fusermount3", X_OK) == 0)
		return true;
	path = strdup(env ? env : "/bin:/usr/bin");
	char *save = NULL, *folder = path ? strtok_r(path, ":", &save) : NULL;
	for (; folder; folder = strtok_r(NULL, ":", &save)) {
		AUTO_FREE char *file = NULL;
		if (asprintf(&file, "%s/fusermount3", folder) < 0) {
			file = NULL;
			return false;
		}
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static int judge_device(struct error *err)
{
	AUTO_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	if (errno == EACCES)
		return error_set(err, -EACCES,
				 "/dev/fuse is closed to this user, which root "
				 "can change: chmod 666 /dev/fuse");
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return error_set(err, -errno,
				 "/dev/fuse is missing: run modprobe "
				 "fuse; " CONTAINER_HINT);
	return error_set(err, -errno, "/dev/fuse: %s; " CONTAINER_HINT,
			 strerror(errno));
}

int mountpoint_judge_system(bool allow_other, struct error *err)
{
	int r = judge_device(err);

	if (r < 0)
		return r;
	if (geteuid() == 0)
		return 0;
	if (!has_fusermount())
		return error_set(err, -ENOENT,
				 "fusermount3 is missing, which mounts for "
				 "users: apt-get install fuse3");
	if (allow_other && !may_allow_other())
		return error_set(err, -EPERM,
				 "-o allow_other needs the line "
				 "user_allow_other in /etc/fuse.conf, which "
				 "root can add");
	return 0;
}
