/*
 * The front door: a recipe file, or a directory of them, and options in, an
 * image and (where bytes are wanted) an engine out, with everything they stand
 * on.
 *
 * Of a directory every *.yaml and *.yml is a recipe, but hidden ones; the image
 * has a folder for each, and what several recipes name is opened and computed
 * once. A recipe that is refused is left out.
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
struct shelf;

struct merge_options {
	const char *recipe; /* path, of a file or a directory */
	bool lax, allow_crimes, offline, fuse;
	uint64_t seed;
	const char *lora_merge_dtype; /* as in recipes, or NULL */
	uint64_t shard_size;	      /* 0: 5 * 10^9 */
	const char *cache;   /* directory, "none", or NULL: the default */
	uint64_t cache_size; /* bytes on disk; 0: half of the free space */
	uint64_t cache_free; /* bytes to stay free there; 0: see room.h */
	uint64_t memory; /* bytes, all of the process's own; 0: 512 * 10^6, or a
			    quarter of what its control group may have */
	unsigned threads; /* 0: the CPUs that the process may use */
	bool look; /* only plan; a cache that is missing is not made for that */
};

/* A recipe of those that are served together; fields are owned. */
struct merge_part {
	char *path; /* of the recipe */
	char *name; /* without folder and ending: of its folder in the image */
	struct recipe_file *recipe_file;
	struct plan *plan;
	struct image *image;
};

struct merge { /* fields are owned and may be used, not changed */
	struct merge_options options;
	struct shelf *shelf;
	struct merge_part *parts; /* (n_parts,) by name, at least one */
	size_t n_parts;
	bool is_directory;	   /* of recipes, be it of one */
	const struct image *image; /* of all; borrowed from one of these */
	struct image *joined;	   /* NULL if it is no directory */
	struct notes notes;	   /* what a person should know */
	struct notes refused;	   /* a sentence for each recipe left out */
	struct disk_cache *disk;   /* or NULL */
	char *cache_directory;	   /* of disk, or NULL */
	/* NULL until merge_start() */
	struct pool *pool;
	struct block_cache *cache;
	struct engine *engine;
};

/* Judges and lays out everything, and opens the cache on disk; reads no tensor
 * data, starts no thread that goes on. */
int merge_open(const struct merge_options *options, struct merge **ret,
	       struct error *err);

/* Starts threads, cache (made, if it was only looked for) and engine. Call
 * after any fork. */
int merge_start(struct merge *merge, struct error *err);
void merge_close(struct merge *merge);
DEFINE_AUTO(merge, merge_close);

#endif
