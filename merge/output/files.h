/*
 * The files of the output beside its weights and its config.json.
 */
#ifndef MERGE_OUTPUT_FILES_H
#define MERGE_OUTPUT_FILES_H

#include <stddef.h>

#include "util/error.h"

struct companion;
struct plan;

/*
 * The donor's companions, with the files of the output's tokenizer and with
 * ids that are true of it; (*ret_n,) sorted by path, companions_free() them.
 * What is left out becomes a note of the plan.
 */
int files_beside(struct plan *plan, struct companion **ret, size_t *ret_n,
		 struct error *err);

#endif
