#include "util/io.h"

#include <errno.h>
#include <unistd.h>

int io_read(int fd, void *data, size_t size, uint64_t offset)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = pread(fd, (char *)data + at, size - at,
				  (off_t)(offset + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

int io_write(int fd, const void *data, size_t size, uint64_t offset)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = pwrite(fd, (const char *)data + at, size - at,
				   (off_t)(offset + at));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}
