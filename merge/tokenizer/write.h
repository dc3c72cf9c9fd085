/*
 * The files of the output's tokenizer: those of the vocabulary's basis, edited
 * in place, so that normalizer, pre_tokenizer, decoder and all that is not
 * known here stay byte for byte.
 */
#ifndef MERGE_TOKENIZER_WRITE_H
#define MERGE_TOKENIZER_WRITE_H

#include "util/error.h"

struct vocabulary;

/*
 * tokenizer.json, tokenizer_config.json or added_tokens.json of the output;
 * *ret is malloc'ed. -ENOENT without a sentence if the basis has no such file.
 */
int tokenizer_write(const struct vocabulary *vocabulary, const char *name,
		    char **ret, struct error *err);

/*
 * tokenizer_config.json or added_tokens.json for a basis that has no such file:
 * of the tokens that its other files lack.
 */
int tokenizer_write_new(const struct vocabulary *vocabulary, const char *name,
			char **ret, struct error *err);

#endif
