/*
 * What the tokenizer of a merge will be, for people and for programs.
 */
#ifndef FS_VOCABULARY_H
#define FS_VOCABULARY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdio.h>

#include "util/error.h"

struct merge;
struct plan;

/* Nothing where it is the donor's as it is. */
void vocabulary_print(const struct plan *plan, FILE *out);

/* The same as members "tokenizer" and "chat_template". False: out of memory. */
bool vocabulary_add(cJSON *root, const struct plan *plan);

/*
 * One token: its id and where its rows come from. -ENOENT with a sentence if
 * the output has none such, or if the recipe merges no tokenizers.
 */
int vocabulary_explain(const struct merge *merge, const char *token, bool json,
		       FILE *out, struct error *err);

#endif
