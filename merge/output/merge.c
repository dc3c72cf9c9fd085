#include "merge/output/merge.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cache/disk.h"
#include "merge/engine/engine.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/recipe/recipe.h"
#include "util/pool.h"

#define DEFAULT_MEMORY ((uint64_t)512 * 1000 * 1000)
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

/* The cache's place when none was named; NULL if there is no home. */
static char *default_cache(void)
{
	const char *base = getenv("XDG_CACHE_HOME");
	const char *home = getenv("HOME");
	char *path = NULL;
	int r = -1;

	if (geteuid() == 0)
		r = asprintf(&path, "/var/cache/mkfs-mount");
	else if (base && *base == '/')
		r = asprintf(&path, "%s/mkfs-mount", base);
	else if (home && *home == '/')
		r = asprintf(&path, "%s/.cache/mkfs-mount", home);
	return r < 0 ? NULL : path;
}

/* A named cache must work; without the default one we go on, and say so. */
static int open_disk(struct merge *merge, struct error *err)
{
	const struct merge_options *options = &merge->options;
	if (options->cache && strcmp(options->cache, "none") == 0)
		return 0;

	AUTO_FREE char *path = NULL;
	if (!options->cache)
		path = default_cache();
	struct disk_options disk = {
		.directory = options->cache ? options->cache : path,
		.size = options->cache_size,
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

int merge_start(struct merge *merge, struct error *err)
{
	int r = open_disk(merge, err);
	if (r < 0)
		return r;

	r = pool_new(merge->options.threads, &merge->pool);
	if (r < 0)
		return error_set(err, r, "cannot start threads: %s",
				 strerror(-r));

	uint64_t scratch =
		engine_thread_size(merge->plan) * merge->options.threads;
	uint64_t memory = merge->options.memory;
	struct block_options blocks = {
		.memory = memory > 2 * scratch ? memory - scratch : memory / 2,
		.pool = merge->pool,
		.disk = merge->disk,
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
