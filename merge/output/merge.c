#include "merge/output/merge.h"

#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/codec.h"
#include "cache/directory.h"
#include "cache/disk.h"
#include "merge/engine/engine.h"
#include "merge/engine/factor.h"
#include "merge/engine/shelf.h"
#include "merge/output/image.h"
#include "merge/output/merge_parts.h"
#include "merge/source/view.h"
#include "merge/tensor/dtype.h"
#include "util/cgroup.h"
#include "util/pool.h"
#include "util/range.h"
#include "util/text.h"

#define DEFAULT_MEMORY ((uint64_t)512 * 1000 * 1000)
/* Program, stacks and the like: a process takes as much beside --memory. */
#define FREE_MEMORY ((uint64_t)16 << 20)
#define LEAST_MEMORY ((uint64_t)32 * 1000 * 1000)

/* Of what a container may have, where that is little. */
#define GROUP_SHARE 4

static uint64_t default_memory(void)
{
	struct cgroup_memory group;

	if (cgroup_memory("", &group) < 0)
		return DEFAULT_MEMORY;
	uint64_t share = group.limit / GROUP_SHARE;
	return share < LEAST_MEMORY ? LEAST_MEMORY
				    : min_u64(share, DEFAULT_MEMORY);
}

static unsigned usable_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);

	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

/* What all threads look at of their inputs may take this part of --memory. */
#define LOOKS_SHARE 4

/* And what they looked at and may come back to, this one. */
#define KEPT_SHARE 4

static size_t most_looks(const struct merge *merge)
{
	const struct merge_options *options = &merge->options;

	return options->memory / LOOKS_SHARE / options->threads;
}

static uint64_t thread_size(const struct merge *merge)
{
	return engine_thread_size(merge->shelf, most_looks(merge));
}

/* With stages a thread holds something of each that stands on others. */
static int judge_memory(const struct merge *merge, struct error *err)
{
	uint64_t need = thread_size(merge) * merge->options.threads;
	char size[16];

	if (merge->shelf->depth == 0 || need <= merge->options.memory / 2)
		return 0;
	return error_set(err, -EINVAL,
			 "%s: stages stand on each other in %u levels, for "
			 "which %u threads need --memory %s at least; or give "
			 "fewer --threads",
			 merge->options.recipe, merge->shelf->depth,
			 merge->options.threads,
			 text_format_size(2 * need, size));
}

static int judge_options(struct merge *merge, struct error *err)
{
	struct merge_options *options = &merge->options;

	if (!options->memory)
		options->memory = default_memory();
	if (!options->threads)
		options->threads = usable_cpus();
	if (options->memory < LEAST_MEMORY)
		return error_set(err, -EINVAL,
				 "--memory is too small: at least 32M");
	if (options->lora_merge_dtype &&
	    !dtype_find_torch(options->lora_merge_dtype))
		return error_set(err, -EINVAL,
				 "--lora-merge-dtype '%s': should be float32, "
				 "bfloat16, float16 or float64",
				 options->lora_merge_dtype);
	return 0;
}

/*
 * A named cache must work; without the default one we go on, and say so. With
 * look, none is made, and what is wrong with one is no matter.
 */
static int open_disk(struct merge *merge, bool look, struct error *err)
{
	const struct merge_options *options = &merge->options;
	if (merge->disk)
		return 0;
	if (options->cache && strcmp(options->cache, "none") == 0)
		return 0;

	AUTO_FREE char *path = NULL;
	if (!options->cache)
		path = directory_default();
	struct disk_options disk = {
		.directory = options->cache ? options->cache : path,
		.size = options->cache_size,
		.free = options->cache_free,
		.look = look,
	};
	if (!disk.directory)
		return 0;

	int r = disk_cache_open(&disk, &merge->disk, look ? NULL : err);
	if (r == 0)
		merge->cache_directory = strdup(disk.directory);
	merge->shelf->disk = merge->disk;
	if (look)
		return 0;
	if (r == 0 || options->cache)
		return r;
	notes_add(&merge->notes, "no cache on disk: %s", err ? err->text : "");
	return 0;
}

int merge_open(const struct merge_options *options, struct merge **ret,
	       struct error *err)
{
	AUTO(merge) merge = calloc(1, sizeof(*merge));
	if (!merge || shelf_new(&merge->shelf) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	merge->options = *options;

	int r = judge_options(merge, err);
	if (r == 0)
		r = open_disk(merge, options->look, err);
	if (r == 0)
		r = merge_open_parts(merge, err);
	if (r == 0)
		r = judge_memory(merge, err);
	if (r < 0)
		return r;
	*ret = TAKE(merge);
	return 0;
}

/* Matrices of adapters may take a quarter of the memory. */
static uint64_t limit_factors(const struct merge *merge)
{
	struct factors *factors = merge->shelf->factors;
	uint64_t size =
		min_u64(factors_size(factors), merge->options.memory / 4);

	factors_limit(factors, size);
	return size;
}

/*
 * Inputs that were looked at stay mapped, as most methods come to them twice,
 * where half of the memory is left to the blocks.
 */
static uint64_t keep_looks(const struct merge *merge, uint64_t taken)
{
	uint64_t most = merge->options.memory / 2;
	uint64_t size = min_u64(merge->options.memory / KEPT_SHARE,
				most - min_u64(taken, most));

	view_keep(size);
	return size;
}

/* One core in four may help to store, at low priority. */
static unsigned storing_threads(const struct merge *merge)
{
	return 1 + (merge->options.threads - 1) / 4;
}

/*
 * What of --memory the blocks get: the rest goes to what threads work with
 * (those that store may fill blocks, too) and to the plan, which is as large as
 * the model has tensors.
 */
static uint64_t memory_for_blocks(const struct merge *merge)
{
	uint64_t threads = merge->options.threads, storing = 0;
	struct mallinfo2 heap = mallinfo2();
	uint64_t taken = heap.uordblks + heap.hblkhd;

	if (merge->disk) {
		storing = storing_threads(merge);
		taken += CODEC_SIZE * (storing + BLOCK_LOADING);
	}
	taken += thread_size(merge) * (threads + storing);
	taken += limit_factors(merge);
	for (size_t i = 0; i < merge->n_parts; i++)
		taken += image_memory(merge->parts[i].image);
	taken -= min_u64(taken, FREE_MEMORY);
	taken += keep_looks(merge, taken);
	/* However much that is, blocks have to go through. */
	return merge->options.memory -
	       min_u64(taken, merge->options.memory / 2);
}

int merge_start(struct merge *merge, struct error *err)
{
	int r = open_disk(merge, false, err);
	if (r < 0)
		return r;

	r = pool_new(merge->options.threads, &merge->pool);
	if (r < 0)
		return error_set(err, r, "cannot start threads: %s",
				 strerror(-r));

	struct block_options blocks = {
		.memory = memory_for_blocks(merge),
		.pool = merge->pool,
		.disk = merge->disk,
		.n_storing = storing_threads(merge),
	};
	r = block_cache_new(&blocks, &merge->cache);
	if (r < 0)
		return error_set(err, r, "out of memory");

	AUTO_FREE const struct plan **plans =
		calloc(merge->n_parts, sizeof(*plans));
	if (!plans)
		return error_set(err, -ENOMEM, "out of memory");
	for (size_t i = 0; i < merge->n_parts; i++)
		plans[i] = merge->parts[i].plan;
	struct engine_options engine = {
		.shelf = merge->shelf,
		.plans = plans,
		.n_plans = merge->n_parts,
		.pool = merge->pool,
		.cache = merge->cache,
		.most_looks = most_looks(merge),
	};
	r = engine_new(&engine, &merge->engine);
	if (r < 0)
		return error_set(err, r, "out of memory");
	return 0;
}

void merge_close(struct merge *merge)
{
	if (!merge)
		return;
	/* The cache waits for its fills, which use everything else. */
	block_cache_free(merge->cache);
	pool_free(merge->pool);
	engine_free(merge->engine);
	disk_cache_close(merge->disk);
	image_free(merge->joined);
	merge_close_parts(merge);
	shelf_free(merge->shelf);
	notes_done(&merge->refused);
	notes_done(&merge->notes);
	free(merge->cache_directory);
	free(merge);
}
