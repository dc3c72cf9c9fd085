/*
 * Opening files of a checkpoint's directory without leaving it.
 *
 * Links are followed only to targets inside the directory or, where it is a
 * snapshot of a Hugging Face cache, inside the blobs of the same repository.
 */
#ifndef MERGE_SOURCE_FOLDER_H
#define MERGE_SOURCE_FOLDER_H

#include <stdbool.h>

#include "util/error.h"
#include "util/macros.h"

struct file;

struct folder {
	char *path;  /* as found, for sentences; owned */
	char *real;  /* resolved; owned */
	char *blobs; /* resolved blobs directory of a cache, or NULL; owned */
};

int folder_init(struct folder *folder, const char *path, struct error *err);
void folder_done(struct folder *folder);

/*
 * Opens the file at a relative path. -ENOENT without a sentence if there is
 * none; -EINVAL with one if it lies outside or is not a regular file.
 */
int folder_open(const struct folder *folder, const char *relative,
		struct file **ret, struct error *err);

/* Is this a plain relative path: no '..', not absolute? */
bool folder_is_inside(const char *relative);

#endif
