/*
 * An image as a plain directory, without FUSE. It appears whole under its name,
 * or not at all.
 */
#ifndef FS_EXPORT_H
#define FS_EXPORT_H

#include "util/error.h"

struct merge;

/*
 * Refuses a name that is taken, and a place without room for `size` bytes;
 * touches nothing.
 */
int export_judge(const char *directory, unsigned long long size,
		 struct error *err);

/*
 * Writes all files, into a temporary directory beside `directory` that is then
 * renamed, or removed on failure. merge must be started, and signals.h's
 * signals blocked. -EINTR when one came: reads may be in flight still, and only
 * _exit() is safe.
 */
int export_merge(const struct merge *merge, const char *directory,
		 struct error *err);

#endif
