/*
 * Reads a file once and prints the seconds it took.
 * Usage: reader read|mmap FILE BYTES. The file's pages are dropped first.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define STEP ((size_t)1 << 20)

static double seconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static int by_read(int fd, size_t size)
{
	char *buffer = aligned_alloc(4096, STEP);
	if (!buffer)
		return -1;
	for (size_t at = 0; at < size;) {
		ssize_t n = pread(fd, buffer, STEP, (off_t)at);
		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	free(buffer);
	return 0;
}

static int by_mmap(int fd, size_t size)
{
	volatile const char *map =
		mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -1;
	for (size_t at = 0; at < size; at += 4096)
		(void)map[at];
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "Usage: reader read|mmap FILE BYTES\n");
		return 2;
	}
	int fd = open(argv[2], O_RDONLY);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	size_t size = strtoull(argv[3], NULL, 10);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);

	double start = seconds();
	int r = strcmp(argv[1], "mmap") == 0 ? by_mmap(fd, size)
					     : by_read(fd, size);
	if (r < 0) {
		perror(argv[2]);
		return 1;
	}
	printf("%.6f\n", seconds() - start);
	return 0;
}
