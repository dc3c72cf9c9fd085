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
#include "merge/engine/plan.h"
#include "merge/engine/shelf.h"
#include "merge/output/image.h"
#include "merge/recipe/recipe.h"
#include "merge/tensor/dtype.h"
#include "util/pool.h"
#include "util/range.h"

#define DEFAULT_MEMORY ((uint64_t)512 * 1000 * 1000)
/* Program, stacks and the like: a process takes as much beside --memory. */
#define FREE_MEMORY ((uint64_t)16 << 20)
#define LEAST_MEMORY ((uint64_t)32 * 1000 * 1000)

static unsigned usable_cpus(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return (unsigned)CPU_COUNT(&set);

	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n > 0 ? (unsigned)n : 1;
}

/* "recipes/my-merge.yaml" -> "my-merge". */
static char *recipe_title(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	const char *dot = strrchr(name, '.');

	return strndup(name, dot && dot != name ? (size_t)(dot - name)
						: strlen(name));
}

static int find_dtype(const char *name, const struct dtype **ret,
		      struct error *err)
{
	if (!name)
		return 0;
	*ret = dtype_find_torch(name);
	return *ret ? 0
		    : error_set(err, -EINVAL,
				"--lora-merge-dtype '%s': should be float32, "
				"bfloat16, float16 or float64",
				name);
}

int merge_open(const struct merge_options *options, struct merge **ret,
	       struct error *err)
{
	AUTO(merge) merge = calloc(1, sizeof(*merge));
	if (!merge)
		return error_set(err, -ENOMEM, "out of memory");
	merge->options = *options;
	if (!merge->options.memory)
		merge->options.memory = DEFAULT_MEMORY;
	if (merge->options.memory < LEAST_MEMORY)
		return error_set(err, -EINVAL,
				 "--memory is too small: at least 32M");
	if (!merge->options.threads)
		merge->options.threads = usable_cpus();

	int r = recipe_load(options->recipe, options->lax, &merge->recipe_file,
			    &merge->notes, err);
	if (r < 0)
		return r;

	struct plan_options plan_options = {
		.allow_crimes = options->allow_crimes,
		.offline = options->offline,
		.fuse = options->fuse,
		.seed = options->seed,
	};
	r = find_dtype(options->lora_merge_dtype, &plan_options.lora_dtype,
		       err);
	if (r < 0)
		return r;
	r = plan_new(merge->recipe_file, &plan_options, &merge->plan, err);
	if (r < 0)
		return r;

	AUTO_FREE char *title = recipe_title(options->recipe);
	if (!title)
		return error_set(err, -ENOMEM, "out of memory");
	struct image_options image_options = {
		.shard_size = options->shard_size,
		.title = title,
	};
	r = image_new(merge->plan, &image_options, &merge->image, err);
	if (r < 0)
		return r;
	*ret = TAKE(merge);
	return 0;
}

/* A named cache must work; without the default one we go on, and say so. */
static int open_disk(struct merge *merge, struct error *err)
{
	const struct merge_options *options = &merge->options;
	if (options->cache && strcmp(options->cache, "none") == 0)
		return 0;

	AUTO_FREE char *path = NULL;
	if (!options->cache)
		path = directory_default();
	struct disk_options disk = {
		.directory = options->cache ? options->cache : path,
		.size = options->cache_size,
		.free = options->cache_free,
	};
	if (!disk.directory)
		return 0;

	int r = disk_cache_open(&disk, &merge->disk, err);
	if (r == 0)
		merge->cache_directory = strdup(disk.directory);
	if (r == 0 || options->cache)
		return r;
	notes_add(&merge->notes, "no cache on disk: %s", err ? err->text : "");
	return 0;
}

/* Matrices of adapters may take a quarter of the memory. */
static uint64_t limit_factors(const struct merge *merge)
{
	struct factors *factors = merge->plan->shelf->factors;
	uint64_t size =
		min_u64(factors_size(factors), merge->options.memory / 4);

	factors_limit(factors, size);
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
	taken += engine_thread_size(merge->plan) * (threads + storing);
	taken += limit_factors(merge);
	taken -= min_u64(taken, FREE_MEMORY);
	/* However much that is, blocks have to go through. */
	return merge->options.memory -
	       min_u64(taken, merge->options.memory / 2);
}

int merge_start(struct merge *merge, struct error *err)
{
	int r = open_disk(merge, err);
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

	struct engine_options engine = {
		.plan = merge->plan,
		.pool = merge->pool,
		.cache = merge->cache,
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
	image_free(merge->image);
	plan_free(merge->plan);
	recipe_free(merge->recipe_file);
	notes_done(&merge->notes);
	free(merge->cache_directory);
	free(merge);
}
