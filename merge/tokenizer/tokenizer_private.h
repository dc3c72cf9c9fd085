/* Between the readers: a tokenizer that is being made. */
#ifndef MERGE_TOKENIZER_TOKENIZER_PRIVATE_H
#define MERGE_TOKENIZER_TOKENIZER_PRIVATE_H

#include "merge/tokenizer/tokenizer.h"

/*
 * Appends a token; *ret is it, until the next is appended. A text that is there
 * already is not appended: *ret is the one that is. 1: appended, 0: it was
 * there, or -ENOMEM, -E2BIG.
 */
int tokenizer_put(struct tokenizer *tokenizer, const char *text, size_t length,
		  uint32_t id, uint32_t flags, struct token **ret);

/* Sorts by id, finds `end`, and judges: two tokens with one id. */
int tokenizer_seal(struct tokenizer *tokenizer, const char *path,
		   struct error *err);

/* The next id that loaders of tokenizer.json give to an added token: above all
 * added ones, or else behind n_model tokens of the model. */
uint32_t tokenizer_next_id(uint32_t n_model, int64_t most_added);

#endif
