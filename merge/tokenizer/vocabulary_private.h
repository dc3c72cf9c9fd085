/* Between vocabulary.c and its parts: a vocabulary that is being made. */
#ifndef MERGE_TOKENIZER_VOCABULARY_PRIVATE_H
#define MERGE_TOKENIZER_VOCABULARY_PRIVATE_H

#include "merge/tokenizer/vocabulary.h"

struct recipe;

struct making {
	struct vocabulary *vocabulary;
	const struct recipe *recipe;
	const char *directory;
	const struct vocabulary_model *models;
	size_t n_models;
	const struct source *stage; /* see struct vocabulary_options */
	/* (n_models + 1,) of the models, the last of a source outside; NULL
	 * for a model without: then the basis' stands for it. The first of
	 * those that are equal owns. */
	struct tokenizer **tokenizers;
	const struct tokenizer *basis;
	struct notes *notes; /* of this vocabulary alone */
	struct error *err;
};

/* Of all that the vocabulary depends on: its part of the recipe, and the files
 * that a tokenizer can have. The basis is known. */
int vocabulary_digest(struct making *making, struct digest *ret);

/* Fills what is made of the tokenizers, and the notes; -ENOENT: not kept. */
int vocabulary_load(struct making *making);
void vocabulary_store(const struct making *making);

int vocabulary_no_memory(struct making *making);

/* Place of a model among those of the merge, or -1. */
int vocabulary_find_model(const struct making *making,
			  const struct model_ref *ref);

/* A model's tokenizer, or the basis' where it has none. */
const struct tokenizer *vocabulary_tokenizer(const struct making *making,
					     size_t model);

/* Once the output's tokens are known: rows of all models for them. */
int vocabulary_find_rows(struct making *making);

/* Likewise: what the recipe's tokens: says of rows. */
int vocabulary_find_rules(struct making *making);

/* At most this much of a token is shown. */
#define SHOWN 60

#endif
