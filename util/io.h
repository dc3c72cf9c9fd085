/*
 * Reads and writes of all of a range, however the system cuts them.
 */
#ifndef UTIL_IO_H
#define UTIL_IO_H

#include <stddef.h>
#include <stdint.h>

/* 0 or a negative errno; -EIO where the file ends before the range does. */
int io_read(int fd, void *data, size_t size, uint64_t offset);
int io_write(int fd, const void *data, size_t size, uint64_t offset);

#endif
