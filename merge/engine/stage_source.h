/*
 * What a plan makes, as a source and as expressions, for the plans that stand
 * on it.
 */
#ifndef MERGE_ENGINE_STAGE_SOURCE_H
#define MERGE_ENGINE_STAGE_SOURCE_H

#include <stdbool.h>

#include "util/error.h"

struct node;
struct plan;
struct source;

/*
 * Names, types, shapes and config.json; no files. source_close() it. What
 * config.json cannot say is added to the plan's notes.
 */
int stage_source_new(const char *name, struct plan *plan, struct source **ret,
		     struct error *err);

/*
 * The expressions of the source's tensors, in its order: the plan's own, as
 * rounded by saving them unless fused. *ret: (n_tensors,), the array is owned.
 */
int stage_nodes_new(struct plan *plan, const struct source *source, bool fused,
		    struct node ***ret);

#endif
