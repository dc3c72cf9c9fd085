/*
 * How fast this machine's memory is read: every thread adds up a buffer of its
 * own that no cache holds, several times. Prints GB/s of all threads, and GB in
 * a second of CPU time, each the best of the times.
 *
 * Usage: probe THREADS
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE ((size_t)192 << 20)
#define TIMES 7
#define MOST_THREADS 64

struct reader {
	pthread_t thread;
	pthread_barrier_t *barrier;
	uint64_t *data; /* (SIZE / 8,) */
	volatile uint64_t sum;
};

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t add_up(const uint64_t *data)
{
	uint64_t sums[16] = {0}, sum = 0;

	for (size_t at = 0; at < SIZE / sizeof(*data); at += 16)
		for (size_t i = 0; i < 16; i++)
			sums[i] += data[at + i];
	for (size_t i = 0; i < 16; i++)
		sum += sums[i];
	return sum;
}

static void *read_all(void *arg)
{
	struct reader *reader = arg;

	memset(reader->data, 1, SIZE);
	for (int i = 0; i < TIMES; i++) {
		pthread_barrier_wait(reader->barrier);
		reader->sum = add_up(reader->data);
		pthread_barrier_wait(reader->barrier);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	unsigned n = argc == 2 ? (unsigned)atoi(argv[1]) : 0;
	struct reader readers[MOST_THREADS];
	pthread_barrier_t barrier;
	double best = 0, best_busy = 0;
	if (n < 1 || n > MOST_THREADS)
		return 2;

	pthread_barrier_init(&barrier, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		readers[i].barrier = &barrier;
		readers[i].data = aligned_alloc(64, SIZE);
		if (!readers[i].data ||
		    pthread_create(&readers[i].thread, NULL, read_all,
				   &readers[i]) != 0)
			return 1;
	}
	for (int i = 0; i < TIMES; i++) {
		pthread_barrier_wait(&barrier);
		double begin = now(CLOCK_MONOTONIC);
		double busy = now(CLOCK_PROCESS_CPUTIME_ID);
		pthread_barrier_wait(&barrier);
		double size = (double)SIZE * n / 1e9;
		best = fmax(best, size / (now(CLOCK_MONOTONIC) - begin));
		best_busy = fmax(best_busy,
				 size / (now(CLOCK_PROCESS_CPUTIME_ID) - busy));
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(readers[i].thread, NULL);
		free(readers[i].data);
	}
	printf("%.3f %.3f\n", best, best_busy);
	return 0;
}
