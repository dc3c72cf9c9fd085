/*
 * tokenizer_source:, tokenizer: and chat_template: as a person wrote them.
 */
#ifndef MERGE_RECIPE_TOKENIZER_FORM_H
#define MERGE_RECIPE_TOKENIZER_FORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/recipe/model_ref.h"

struct form;
struct recipe;
struct yaml;

enum token_origin {
	TOKEN_FROM_ANY,	  /* no source: */
	TOKEN_FROM_MODEL, /* the row that the model has for this token */
	TOKEN_FROM_TOKEN, /* the one it has for another token */
	TOKEN_FROM_ID,	  /* the one of a number */
	TOKEN_FROM_ZERO,
};

struct recipe_token { /* an entry of tokens: */
	char *text;
	enum token_origin origin;
	struct model_ref model; /* path NULL without one */
	char *token;		/* of TOKEN_FROM_TOKEN */
	uint32_t id;		/* of TOKEN_FROM_ID */
	bool force;
	unsigned line;
};

enum tokenizer_source {
	TOKENIZER_KEPT, /* no key: the donor's files as they are */
	TOKENIZER_OF_BASE,
	TOKENIZER_UNION,
	TOKENIZER_OF_MODEL,
};

struct recipe_tokenizer {
	enum tokenizer_source source;
	struct model_ref model;	     /* of TOKENIZER_OF_MODEL */
	struct recipe_token *tokens; /* (n_tokens,) document order */
	size_t n_tokens;
	uint32_t multiple; /* pad_to_multiple_of, else 1 */
	unsigned line;	   /* 0 without the keys */
};

/* Fills the recipe's tokenizer and chat_template. */
int tokenizer_form_read(const struct form *form, const struct yaml *document,
			struct recipe *recipe);
void recipe_tokenizer_done(struct recipe_tokenizer *tokenizer);

#endif
