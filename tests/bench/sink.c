/*
 * The engine alone: computes every byte of a merge and throws it away. Prints
 * what it took, as JSON.
 *
 * Usage: sink RECIPE THREADS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "fs/pipeline.h"
#include "merge/engine/engine.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static int take(void *arg, const struct iovec *iov, size_t n_iov,
		uint64_t offset, size_t size)
{
	(void)iov;
	(void)n_iov;
	(void)offset;

	*(uint64_t *)arg += size;
	return 0;
}

static int run(const struct merge *merge, uint64_t *ret_size)
{
	AUTO(pipeline) pipeline = NULL;
	uint32_t n;
	const struct image_entry *entries = image_entries(merge->image, &n);

	int r = pipeline_new(merge, -1, &pipeline);
	for (uint32_t i = 1; r == 0 && i < n; i++) {
		uint64_t offset = 0;
		if (strstr(entries[i].name, ".safetensors"))
			r = pipeline_file(pipeline, i, take, ret_size, &offset);
	}
	return r;
}

int main(int argc, char **argv)
{
	AUTO(merge) merge = NULL;
	struct error err;
	struct rusage usage;
	uint64_t size = 0;
	if (argc != 3)
		return 2;

	struct merge_options options = {
		.recipe = argv[1],
		.cache = "none",
		.offline = true,
		.threads = (unsigned)atoi(argv[2]),
	};
	if (merge_open(&options, &merge, &err) < 0 ||
	    merge_start(merge, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	double begin = now();
	if (run(merge, &size) < 0)
		return 1;
	double seconds = now() - begin;
	getrusage(RUSAGE_SELF, &usage);
	double busy = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
	printf("{\"seconds\": %.6f, \"cpu\": %.6f, \"written\": %llu, "
	       "\"read\": %llu, \"peak\": %ld}\n",
	       seconds, busy, (unsigned long long)size,
	       (unsigned long long)engine_bytes_read(merge->engine),
	       usage.ru_maxrss * 1024);
	return 0;
}
