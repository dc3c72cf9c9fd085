/*
 * What would be mounted, for people and for programs; no data is read.
 */
#ifndef FS_CHECK_H
#define FS_CHECK_H

#include <stdbool.h>
#include <stdio.h>

struct merge;

/* 0 or -ENOMEM. */
int check_print(const struct merge *merge, bool json, FILE *out);

#endif
