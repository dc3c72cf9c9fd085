#include "fs/readahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/macros.h"

int readahead_raise(const char *path, char ret_setting[64])
{
	struct statx st;
	char value[16];

	ret_setting[0] = '\0';
	/* Without asking the file system, which is us. */
	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW,
		  STATX_TYPE, &st) < 0)
		return -errno;
	snprintf(ret_setting, 64, "/sys/class/bdi/%u:%u/read_ahead_kb",
		 st.stx_dev_major, st.stx_dev_minor);

	AUTO_CLOSE int fd = open(ret_setting, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int length = snprintf(value, sizeof(value), "%d\n", READAHEAD_KB);
	if (write(fd, value, (size_t)length) != length)
		return -errno;
	return 0;
}
