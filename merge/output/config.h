/*
 * The texts that are derived from the donor: config.json edited key by key, and
 * the model card.
 */
#ifndef MERGE_OUTPUT_CONFIG_H
#define MERGE_OUTPUT_CONFIG_H

#include "util/error.h"

struct file;
struct plan;

/*
 * config.json of the output: the donor's text with only these edits.
 *   dtype    `dtype` and `torch_dtype`, whichever are there, in nested
 *            *_config objects too, when the recipe asks for a dtype.
 *   layers   where slices gave them: their count, lists with an element for
 *            each layer (taken from the model that gave the layer), lists of
 *            layers, the number of leading dense layers. What these cannot say
 *            is added to plan->notes.
 *   vocab    vocab_size when plan->vocab_size is not 0.
 *   tokens   ids of tokens that are others now.
 *   tie      tie_word_embeddings when plan->tied is not -1.
 * *ret is malloc'ed.
 */
int config_text(struct plan *plan, char **ret, struct error *err);

/*
 * generation_config.json with its ids of tokens, where those are others now;
 * else *ret is NULL.
 */
int config_generation(struct plan *plan, const struct file *file,
		      struct file **ret, struct error *err);

/*
 * README.md in the form of MergeKit's model cards. title may be NULL. *ret is
 * malloc'ed. Whether a model's name is one on the hub is decided as
 * source/locate.h does: by whether there is a directory of that name.
 */
int card_text(const struct plan *plan, const char *title, char **ret);

#endif
