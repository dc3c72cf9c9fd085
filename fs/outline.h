/*
 * The outline of a plan (merge/engine/outline.h), for people and programs.
 */
#ifndef FS_OUTLINE_H
#define FS_OUTLINE_H

#include <stdbool.h>
#include <stdio.h>

#include "util/json.h"

struct outline;

void outline_print(const struct outline *outline, bool formulas, FILE *out);

/* Adds the list "groups" to an object; false if out of memory. */
bool outline_add(cJSON *root, const struct outline *outline);

#endif
