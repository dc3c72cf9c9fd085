#include "fs/umount.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/mountinfo.h"
#include "fs/mountpoint.h"
#include "util/macros.h"

static int run_fusermount(const char *path, bool lazy)
{
	const char *argv[] = {"fusermount3", "-u", lazy ? "-qz" : "-q",
			      "--",	     path, NULL};
	int status;
	pid_t pid;

	int r = posix_spawnp(&pid, argv[0], NULL, NULL, (char **)argv, environ);
	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int umount_path(const char *path, bool lazy)
{
	if (geteuid() != 0)
		return run_fusermount(path, lazy);
	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0)
		return -errno;
	return 0;
}

bool is_merge_mounted(const char *path)
{
	struct mount_entry entry = {0};
	bool mounted = mountinfo_find(NULL, path, &entry) == 0 &&
		       strcmp(entry.type, MOUNT_TYPE) == 0;

	mount_entry_done(&entry);
	return mounted;
}

int umount_merge(const char *path, struct error *err)
{
	AUTO_FREE char *resolved = NULL;

	int r = mountpoint_resolve(path, &resolved, err);
	if (r < 0)
		return r;
	if (!is_merge_mounted(resolved))
		return error_set(err, -EINVAL, "%s: no merge is mounted here",
				 path);
	r = umount_path(resolved, false);
	if (r == -EBUSY)
		return error_set(err, r,
				 "%s: is in use, so it cannot be unmounted; "
				 "fuser -vm %s shows by whom",
				 path, path);
	if (r < 0)
		return error_set(err, r, "%s: cannot be unmounted: %s", path,
				 strerror(-r));
	return 0;
}
