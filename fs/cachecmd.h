/*
 * mkfs-ctl cache: what is in a cache directory, and its upkeep.
 */
#ifndef FS_CACHECMD_H
#define FS_CACHECMD_H

#include <stdio.h>

#include "util/error.h"

struct options;

/*
 * Does what options->arguments[0] says (ls, gc, verify, clear) to the directory
 * of --cache or the default one, and tells of it on `out`. -EBADMSG when verify
 * found bad blocks (and removed them).
 */
int cache_command(const struct options *options, FILE *out, struct error *err);

#endif
