/*
 * Reads a file once and prints the seconds it took.
 * Usage: reader read|mmap FILE BYTES
 *        reader touch|load FILE BYTES < RANGES    by mmap, range by range, each
 *            a line "OFFSET SIZE": pages are touched, or copied out
 *        reader random FILE BYTES    1000 reads of 4 KiB; prints the 50th and
 *            the 99th of 100 as well
 * The file's pages are dropped first, but by `keep-` before the mode's name.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
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

static volatile const char *map_file(int fd, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	return map == MAP_FAILED ? NULL : map;
}

static int by_ranges(int fd, size_t size, bool copy)
{
	volatile const char *map = map_file(fd, size);
	size_t offset, length;

	if (!map)
		return -1;
	while (scanf("%zu %zu", &offset, &length) == 2) {
		char *tensor = copy ? malloc(length) : NULL;
		if (tensor)
			memcpy(tensor, (const char *)map + offset, length);
		for (size_t at = 0; !copy && at < length; at += 4096)
			(void)map[offset + at];
		free(tensor);
	}
	return 0;
}

#define N_RANDOM 1000
#define RANDOM_SIZE 4096

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int by_random(int fd, size_t size)
{
	static double times[N_RANDOM];
	char buffer[RANDOM_SIZE];

	srandom(1);
	for (size_t i = 0; i < N_RANDOM; i++) {
		size_t pages = size / RANDOM_SIZE;
		off_t at = (off_t)((size_t)random() % pages * RANDOM_SIZE);
		double start = seconds();
		if (pread(fd, buffer, sizeof(buffer), at) != RANDOM_SIZE)
			return -1;
		times[i] = seconds() - start;
	}
	qsort(times, N_RANDOM, sizeof(times[0]), compare);
	printf("%.6f %.6f ", times[N_RANDOM / 2], times[N_RANDOM * 99 / 100]);
	return 0;
}

static int by_mode(const char *mode, int fd, size_t size)
{
	if (strcmp(mode, "mmap") == 0)
		return by_mmap(fd, size);
	if (strcmp(mode, "random") == 0)
		return by_random(fd, size);
	if (strcmp(mode, "touch") == 0 || strcmp(mode, "load") == 0)
		return by_ranges(fd, size, mode[0] == 'l');
	return by_read(fd, size);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "Usage: reader MODE FILE BYTES\n");
		return 2;
	}
	int fd = open(argv[2], O_RDONLY);
	if (fd < 0) {
		perror(argv[2]);
		return 1;
	}
	size_t size = strtoull(argv[3], NULL, 10);
	const char *mode = argv[1];
	if (strncmp(mode, "keep-", 5) == 0)
		mode += 5;
	else
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if (strcmp(mode, "random") == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);

	double start = seconds();
	int r = by_mode(mode, fd, size);
	if (r < 0) {
		perror(argv[2]);
		return 1;
	}
	printf("%.6f\n", seconds() - start);
	return 0;
}
