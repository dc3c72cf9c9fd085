/*
 * Between merge.c and merge_parts.c: the recipes of a merge.
 */
#ifndef MERGE_OUTPUT_MERGE_PARTS_H
#define MERGE_OUTPUT_MERGE_PARTS_H

#include "util/error.h"

struct merge;

/* Reads, plans and lays out the recipe, or all of a directory; then the merge
 * has its image. A directory fails only if no recipe of it is good. */
int merge_open_parts(struct merge *merge, struct error *err);
void merge_close_parts(struct merge *merge);

#endif
