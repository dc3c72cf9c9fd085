/*
 * The directory that a mount is to stand on: is it fit?
 */
#ifndef FS_MOUNTPOINT_H
#define FS_MOUNTPOINT_H

#include <stdbool.h>

#include "util/error.h"

struct merge;

#define MOUNT_TYPE "fuse.mkfs-mount"

#define CONTAINER_HINT                                                  \
	"a container needs --device /dev/fuse --cap-add SYS_ADMIN; or " \
	"use mkfs-ctl export, which needs no FUSE"

/*
 * Absolute path without links of a directory, malloc'ed, even where the
 * directory itself cannot be looked at (a mount whose process is gone).
 */
int mountpoint_resolve(const char *path, char **ret, struct error *err);

/*
 * Judges a resolved path, with a sentence that says what to do: missing, not a
 * directory, mounted already, not empty.
 */
int mountpoint_judge(const char *path, bool nonempty, struct error *err);

/* Refuses a cache (--cache, or NULL) that the mount would hide; before it is
 * made. */
int mountpoint_judge_cache(const char *path, const char *cache,
			   struct error *err);

/* Refuses a merge whose recipe or sources the mount would hide. */
int mountpoint_judge_merge(const char *path, const struct merge *merge,
			   struct error *err);

/* May this process mount by FUSE at all? */
int mountpoint_judge_system(bool allow_other, struct error *err);

#endif
