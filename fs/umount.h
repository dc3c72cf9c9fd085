/*
 * Ending a mount from outside.
 */
#ifndef FS_UMOUNT_H
#define FS_UMOUNT_H

#include <stdbool.h>

#include "util/error.h"

/*
 * Unmounts a resolved path, as root by umount2(), else by fusermount3. Lazy:
 * even where files are open. 0, -EBUSY, or another errno.
 */
int umount_path(const char *path, bool lazy);

/* Is a merge mounted on a resolved path, topmost? */
bool is_merge_mounted(const char *path);

/* Unmounts a merge, and returns when it is gone. */
int umount_merge(const char *path, struct error *err);

#endif
