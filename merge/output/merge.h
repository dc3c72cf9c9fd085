/*
 * The front door: a recipe file and options in, an image and (where bytes are
 * wanted) an engine out, with everything they stand on.
 */
#ifndef MERGE_OUTPUT_MERGE_H
#define MERGE_OUTPUT_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/block.h"
#include "util/error.h"
#include "util/macros.h"

struct disk_cache;
struct engine;
struct image;
struct plan;
struct recipe_file;

struct merge_options {
	const char *recipe; /* path */
	bool lax, allow_crimes, offline, fuse;
	uint64_t seed;
	const char *lora_merge_dtype; /* as in recipes, or NULL */
	uint64_t shard_size;	      /* 0: 5 * 10^9 */
	const char *cache;   /* directory, "none", or NULL: the default */
	uint64_t cache_size; /* bytes on disk; 0: half of the free space */
	uint64_t cache_free; /* bytes to stay free there; 0: see room.h */
	uint64_t memory;  /* bytes, all of the process's own; 0: 512 * 10^6 */
	unsigned threads; /* 0: the CPUs that the process may use */
};

struct merge { /* fields are owned and may be used, not changed */
	struct merge_options options;
	struct recipe_file *recipe_file;
	struct plan *plan;
	struct image *image;
	struct notes notes; /* of the recipe; the plan has its own */
	/* NULL until merge_start() */
	struct pool *pool;
	struct disk_cache *disk;
	char *cache_directory; /* of disk, or NULL */
	struct block_cache *cache;
	struct engine *engine;
};

/* Judges and lays out everything; reads no tensor data, starts no thread. */
int merge_open(const struct merge_options *options, struct merge **ret,
	       struct error *err);

/* Starts threads, cache and engine. Call after any fork. */
int merge_start(struct merge *merge, struct error *err);
void merge_close(struct merge *merge);
DEFINE_AUTO(merge, merge_close);

#endif
