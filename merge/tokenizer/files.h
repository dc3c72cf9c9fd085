/*
 * Reading the files of a model that have to do with its tokenizer.
 */
#ifndef MERGE_TOKENIZER_FILES_H
#define MERGE_TOKENIZER_FILES_H

#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

struct source;

/* The bytes of a file and a NUL; ret_path may be NULL. -ENOENT without a
 * sentence if there is none. */
int tokenizer_file(const struct source *source, const char *name, char **ret,
		   size_t *ret_size, char **ret_path, struct error *err);

/* The same parsed; an object. */
int tokenizer_json_file(const struct source *source, const char *name,
			cJSON **ret, struct error *err);

/* The flags of an added token as entries spell them. */
#define N_TOKEN_FLAGS 5
extern const struct token_flag_key {
	const char *key;
	uint32_t flag;
} token_flags[N_TOKEN_FLAGS];

/* The flags that an entry of added_tokens or added_tokens_decoder has. */
uint32_t tokenizer_flags(const cJSON *entry);

#endif
