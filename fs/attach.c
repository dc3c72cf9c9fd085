#include "fs/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/control.h"
#include "fs/mountpoint.h"
#include "fs/umount.h"
#include "util/macros.h"

int attach_open(const char *path, int *ret, struct error *err)
{
	AUTO_FREE char *resolved = NULL;
	AUTO_FREE char *file = NULL;

	int r = mountpoint_resolve(path, &resolved, err);
	if (r < 0)
		return r;
	if (!is_merge_mounted(resolved))
		return error_set(err, -EINVAL, "%s: no merge is mounted here",
				 path);
	if (asprintf(&file, "%s/%s", resolved, CONTROL_NAME) < 0) {
		file = NULL;
		return error_set(err, -ENOMEM, "out of memory");
	}
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == EACCES)
		return error_set(err, -EACCES,
				 "%s: only root and the user who mounted it "
				 "may ask",
				 path);
	if (fd < 0)
		return error_set(err, -errno, "%s: does not answer: %s", path,
				 strerror(errno));
	*ret = fd;
	return 0;
}
