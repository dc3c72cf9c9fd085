/*
 * The directory that a recipe describes: folders, files, sizes, bytes.
 *
 * Sizes and offsets of all files are fixed when the image is made, before any
 * tensor data is read. A file is a row of extents: literal bytes, ranges of
 * source files, output tensors.
 *
 * Immutable; every function may be called from any thread.
 */
#ifndef MERGE_OUTPUT_IMAGE_H
#define MERGE_OUTPUT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <time.h>

#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"
#include "util/pool.h"

struct engine;
struct file;
struct image;
struct output_tensor;
struct plan;

struct image_entry {
	char *path;	  /* relative, '/'-separated; "" for the root */
	const char *name; /* last component of path */
	bool directory;
	uint64_t size;	   /* of a file, in bytes */
	uint32_t parent;   /* index of the folder it is in; the root's is 0 */
	uint32_t first, n; /* children of a folder: entries [first, first + n),
			      sorted by name (strcmp) */
};

struct image_options {
	uint64_t shard_size; /* largest shard, in bytes; 0: 5 * 10^9 */
	const char *title;   /* of the model card; not of the mount point, so
				that every mount has the same bytes */
};

/* plan is borrowed and must outlive the image. */
int image_new(struct plan *plan, const struct image_options *options,
	      struct image **ret, struct error *err);

/*
 * One image of several, each in a folder of its name. names: (n,) sorted by
 * strcmp, distinct, without '/'. The images must outlive it. 0 or -ENOMEM.
 */
int image_join(const struct image *const *images, const char *const *names,
	       size_t n, struct image **ret);
void image_free(struct image *image);
DEFINE_AUTO(image, image_free);

/* Entry 0 is the root. */
const struct image_entry *image_entries(const struct image *image,
					uint32_t *ret_n);

/* The child of folder `parent`, or NULL. */
const struct image_entry *image_lookup(const struct image *image,
				       uint32_t parent, const char *name);

/* Where a tensor of the plan lies: path of the file and offset in it. */
void image_find_tensor(const struct image *image,
		       const struct output_tensor *tensor,
		       const char **ret_path, uint64_t *ret_offset);

/* The source file whose bytes are all of a file's bytes, or NULL. */
const struct file *image_copy_of(const struct image *image, uint32_t entry);

/* The bytes (*ret_size,) that a file begins with and that need no computing,
 * where others come behind them: a shard's header. Else *ret_size is 0. */
const char *image_header(const struct image *image, uint32_t entry,
			 uint64_t *ret_size);

/* The source file that the bytes from `offset` on are copied from: *ret_size of
 * them, from *ret_offset in it. NULL where they are not copied. */
const struct file *image_copied(const struct image *image, uint32_t entry,
				uint64_t offset, uint64_t *ret_offset,
				uint64_t *ret_size);

/* Names a file's bytes for ever, as the keys of blocks do; false for one that
 * need not be put together: literal bytes alone, or all of a source file. */
bool image_file_key(const struct image *image, uint32_t entry,
		    struct digest *ret);

/*
 * A walk over the blocks of a file that are worth a place on disk, from *at on:
 * false when there are none left, else *ret is the key of the first, and *at
 * where the walk goes on.
 */
bool image_next_block(const struct image *image, struct engine *engine,
		      uint32_t entry, uint64_t *at, struct digest *ret);

/* Memory of files that were computed, beside the heap. */
uint64_t image_memory(const struct image *image);

/* Sum of all file sizes; and the time that every entry bears: the newest of
 * the recipe and all sources, so that it does not change between mounts. */
uint64_t image_size(const struct image *image);
struct timespec image_time(const struct image *image);

/*
 * One read, embedded in its owner. Set the first group of fields, call
 * image_read(); done() is called exactly once, perhaps before image_read()
 * returns, perhaps on another thread, and must not block. With r = 0 the bytes
 * are in iov until image_read_done().
 */
struct image_roads { /* bytes of a read, by where they came from */
	uint64_t literal, copied;
	uint64_t memory; /* blocks that were there */
	uint64_t waited; /* blocks that were computed, or loaded from disk */
};

struct image_read {
	struct engine *engine; /* NULL only where no tensor is computed */
	uint32_t entry;	       /* a file */
	uint64_t offset;       /* offset + size must lie within the file */
	size_t size;
	enum pool_priority priority; /* 0: a reader waits */
	void (*done)(struct image_read *read, int r);

	struct iovec *iov; /* (n_iov,) exactly `size` bytes in all */
	size_t n_iov;
	struct image_roads roads;
	struct image_read_state *state; /* the image's */
};

void image_read(const struct image *image, struct image_read *read);

/* Lets go of the bytes. */
void image_read_done(struct image_read *read);

/* image_read() and wait, into data. Not from a pool worker. */
int image_read_sync(const struct image *image, struct engine *engine,
		    uint32_t entry, uint64_t offset, size_t size, void *data);

/*
 * Tells the engine to begin with the blocks of a range that will be wanted
 * soon, in the background. Never fails.
 */
void image_prefetch(const struct image *image, struct engine *engine,
		    uint32_t entry, uint64_t offset, uint64_t size);

#endif
