/*
 * A source file: opened once, frozen.
 *
 * Its identity (device, inode, size, times; or the blob's etag in a Hugging
 * Face cache) is taken when it is opened and goes into every cache key. A file
 * that changes afterwards gives -ESTALE for every further read, so that no
 * reader ever sees bytes of two versions.
 *
 * Weights are looked at where they lie in the page cache, in pieces that the
 * process lets go of again, so that its memory is bounded; what cannot be
 * looked at is read.
 *
 * Every function may be called from any thread.
 */
#ifndef MERGE_SOURCE_FILE_H
#define MERGE_SOURCE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct file {
	char *path; /* owned; as a person would name it */
	int fd;
	uint64_t size;
	struct stat stat; /* when it was opened */
	struct digest identity;
	struct view *view; /* of all bytes, or NULL; owned */
};

struct view;

/* Opens relative to directory descriptor `at` (AT_FDCWD allowed). The file
 * must be a regular one. etag may be NULL. */
int file_open(int at, const char *relative, const char *path, const char *etag,
	      struct file **ret, struct error *err);

/*
 * A file of bytes that were computed, held in memory: its identity is that of
 * the bytes, its times are zero. path is for sentences.
 */
int file_of_bytes(const char *path, const void *data, size_t size,
		  struct file **ret, struct error *err);

/* Bytes of memory that the file itself takes: those of a computed one. */
uint64_t file_memory(const struct file *file);

/* The same file once more, for another owner. */
int file_share(const struct file *file, struct file **ret, struct error *err);

/* All bytes and a NUL behind them; malloc'ed. Larger than `most`: -EINVAL. */
int file_load(const struct file *file, uint64_t most, char **ret,
	      struct error *err);
void file_close(struct file *file);
DEFINE_AUTO(file, file_close);

/* 0 if the file is still what it was when opened, else -ESTALE. */
int file_check(const struct file *file);

/*
 * Reads a byte range: -EIO when the disk fails or the file was cut. The bytes
 * are those of the file as it was opened only if file_check() says so
 * afterwards.
 */
int file_fetch(const struct file *file, uint64_t offset, size_t size,
	       void *data);

/* Has its bytes looked at from now on, where that is possible. */
void file_map(struct file *file);

/*
 * The bytes of a range, if they are in the page cache and can be looked at,
 * else NULL: file_fetch() reads them, for which the kernel reads ahead in
 * larger pieces than for whoever looks. They are the file's only if file_torn()
 * says no afterwards.
 */
const unsigned char *file_look(const struct file *file, uint64_t offset,
			       size_t size);
void file_let_go(const struct file *file, uint64_t offset, size_t size);

/* Was the file cut, or failed the disk, while it was looked at? Then all of it
 * is read from now on. */
bool file_torn(const struct file *file);

/* file_fetch() and file_check(). */
int file_read(const struct file *file, uint64_t offset, size_t size,
	      void *data);

#endif
