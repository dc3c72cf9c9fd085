/*
 * The texts that are derived from the donor: config.json edited key by key, and
 * the model card.
 */
#ifndef MERGE_OUTPUT_CONFIG_H
#define MERGE_OUTPUT_CONFIG_H

#include "util/error.h"

struct plan;

/*
 * config.json of the output: the donor's text with only these edits: dtype
 * keys (`dtype`, `torch_dtype`, whichever are there, nested text_config too)
 * when the recipe asks for a dtype; layer counts and per-layer lists when the
 * depth changed; tie_word_embeddings when plan->tied is not -1. *ret is
 * malloc'ed.
 */
int config_text(struct plan *plan, char **ret, struct error *err);

/* README.md in the form of MergeKit's model cards. *ret is malloc'ed. */
int card_text(const struct plan *plan, const char *title, char **ret);

#endif
