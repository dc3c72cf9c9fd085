/*
 * How fast this machine's memory is read: every thread adds up a part of its
 * own, several times. Without files, a buffer that no cache holds. With files,
 * what lies of them in the page cache, mapped piece by piece and let go of
 * again: the least that a program has to do that looks at inputs there and
 * keeps its memory small. Prints GB/s of all threads, and GB in a second of CPU
 * time, each the best of the times.
 *
 * Usage: probe THREADS [FILE ...]
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZE ((size_t)192 << 20)
#define PIECE ((size_t)4 << 20)
#define TIMES 7
#define MOST_THREADS 64
#define MOST_FILES 64

/* What is read: pieces of files, or a buffer of each thread. */
struct source {
	const char *data[MOST_FILES];
	size_t n_pieces[MOST_FILES]; /* whole ones */
	unsigned n_files;
};

struct reader {
	pthread_t thread;
	pthread_barrier_t *barrier;
	const struct source *source;
	unsigned number, of;
	/* Of the last time. */
	size_t size;
	double begin, end, busy;
	volatile uint64_t sum;
};

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t add_up(const char *data, size_t size)
{
	const uint64_t *words = (const uint64_t *)data;
	uint64_t sums[16] = {0}, sum = 0;

	for (size_t at = 0; at < size / sizeof(*words); at += 16)
		for (size_t i = 0; i < 16; i++)
			sums[i] += words[at + i];
	for (size_t i = 0; i < 16; i++)
		sum += sums[i];
	return sum;
}

/* The sum of every `of`th piece; adds their size. */
static uint64_t add_up_files(const struct reader *reader, size_t *size)
{
	const struct source *source = reader->source;
	uint64_t sum = 0;

	for (unsigned file = 0; file < source->n_files; file++) {
		size_t piece = reader->number;

		for (; piece < source->n_pieces[file]; piece += reader->of) {
			const char *data = source->data[file] + piece * PIECE;

			sum += add_up(data, PIECE);
			madvise((void *)data, PIECE, MADV_DONTNEED);
			*size += PIECE;
		}
	}
	return sum;
}

static void *read_all(void *arg)
{
	struct reader *reader = arg;
	char *buffer = NULL;

	if (reader->source->n_files == 0) {
		buffer = aligned_alloc(64, SIZE);
		if (!buffer)
			exit(1);
		memset(buffer, 1, SIZE);
	}
	for (int i = 0; i < TIMES; i++) {
		size_t size = buffer ? SIZE : 0;

		pthread_barrier_wait(reader->barrier);
		reader->begin = now(CLOCK_MONOTONIC);
		double busy = now(CLOCK_THREAD_CPUTIME_ID);
		reader->sum = buffer ? add_up(buffer, SIZE)
				     : add_up_files(reader, &size);
		reader->busy = now(CLOCK_THREAD_CPUTIME_ID) - busy;
		reader->end = now(CLOCK_MONOTONIC);
		reader->size = size;
		pthread_barrier_wait(reader->barrier);
	}
	free(buffer);
	return NULL;
}

static int map_file(struct source *source, const char *path)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &stat) < 0)
		return -1;

	void *data =
		mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (data == MAP_FAILED)
		return -1;
	source->data[source->n_files] = data;
	source->n_pieces[source->n_files++] = (size_t)stat.st_size / PIECE;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned n = argc >= 2 ? (unsigned)atoi(argv[1]) : 0;
	struct reader readers[MOST_THREADS];
	struct source source = {};
	pthread_barrier_t barrier;
	double best = 0, best_busy = 0;
	if (n < 1 || n > MOST_THREADS || argc > 2 + MOST_FILES)
		return 2;

	for (int i = 2; i < argc; i++)
		if (map_file(&source, argv[i]) < 0) {
			perror(argv[i]);
			return 1;
		}
	pthread_barrier_init(&barrier, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		readers[i] = (struct reader){
			.barrier = &barrier,
			.source = &source,
			.number = i,
			.of = n,
		};
		if (pthread_create(&readers[i].thread, NULL, read_all,
				   &readers[i]) != 0)
			return 1;
	}
	for (int i = 0; i < TIMES; i++) {
		double size = 0, begin = INFINITY, end = 0, busy = 0;

		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		for (unsigned j = 0; j < n; j++) {
			size += (double)readers[j].size / 1e9;
			begin = fmin(begin, readers[j].begin);
			end = fmax(end, readers[j].end);
			busy += readers[j].busy;
		}
		best = fmax(best, size / (end - begin));
		best_busy = fmax(best_busy, size / busy);
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(readers[i].thread, NULL);
	printf("%.3f %.3f\n", best, best_busy);
	return 0;
}
