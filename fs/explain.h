/*
 * How output tensors are made, for people and for programs.
 */
#ifndef FS_EXPLAIN_H
#define FS_EXPLAIN_H

#include <stdbool.h>
#include <stdio.h>

#include "util/error.h"

struct merge;
struct output_tensor;

/* All of them, in groups. No data is read. */
int explain_all(const struct merge *merge, bool json, FILE *out,
		struct error *err);

/* An output tensor by name; -ENOENT with the nearest name. */
int explain_find(const struct merge *merge, const char *name,
		 const struct output_tensor **ret, struct error *err);

/* One, with its facts: those that are kept, or, with scan, all. The merge must
 * be started. */
int explain_tensor(const struct merge *merge,
		   const struct output_tensor *tensor, bool scan, bool json,
		   FILE *out, struct error *err);

#endif
