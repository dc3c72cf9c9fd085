/*
 * The outline of a plan (merge/engine/outline.h), for people and programs.
 */
#ifndef FS_OUTLINE_H
#define FS_OUTLINE_H

#include <stdbool.h>
#include <stdio.h>

#include "util/json.h"

struct plan;

/* Of the result, then of every stage. 0 or -ENOMEM. */
int outline_print_plan(const struct plan *plan, bool formulas, FILE *out);

/* Adds the list "groups" to an object, and a list "stages" of objects with such
 * a list each; false if out of memory. */
bool outline_add_plan(cJSON *root, const struct plan *plan);

#endif
