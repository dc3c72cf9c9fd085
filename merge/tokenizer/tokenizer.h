/*
 * A tokenizer as plain data: what every token is called, its id, its flags.
 *
 * Read from what a model has, the first of: tokenizer.json (BPE, Unigram,
 * WordPiece, WordLevel), vocab.json with merges.txt, vocab.txt, tokenizer.model
 * (SentencePiece). Ids are those that loaders of today give: of an added token
 * in tokenizer.json that its model does not have, the next free one, whatever
 * the file says.
 *
 * Immutable once read; every function may be called from any thread.
 */
#ifndef MERGE_TOKENIZER_TOKENIZER_H
#define MERGE_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct source;

/* Ids from here on are refused; no real vocabulary is near it. */
#define TOKEN_ID_END ((uint32_t)1 << 24)
/* Larger files are refused. */
#define TOKENIZER_MOST ((uint64_t)512 << 20)

enum token_flag {
	TOKEN_ADDED = 1, /* the others mean something only with this one */
	TOKEN_SPECIAL = 2,
	TOKEN_NORMALIZED = 4,
	TOKEN_LSTRIP = 8,
	TOKEN_RSTRIP = 16,
	TOKEN_SINGLE_WORD = 32,
	TOKEN_MODEL = 64, /* in the model's own vocabulary */
};

struct token {
	uint32_t text, length; /* in tokenizer.texts, no NUL behind it */
	uint32_t id;
	uint32_t flags; /* of enum token_flag */
};

enum tokenizer_kind {
	TOKENIZER_UNKNOWN,
	TOKENIZER_BPE,
	TOKENIZER_UNIGRAM,
	TOKENIZER_WORDPIECE,
	TOKENIZER_WORDLEVEL,
};

struct tokenizer {
	enum tokenizer_kind kind;
	const char *file;     /* that it was read from: "tokenizer.json" */
	struct token *tokens; /* (n_tokens,) by id; owned */
	uint32_t n_tokens;
	uint32_t end; /* largest id + 1 */
	char *texts;  /* (texts_size,) owned */
	size_t texts_size;
	/* How text is cut before the model sees it: equal digests, equal
	 * normalizer and pre_tokenizer. Of slow files: of nothing. */
	struct digest cut;
	struct digest content; /* of the file, if it says everything */
	unsigned n_shares;     /* owners beside the first */
	uint32_t n_moved; /* added tokens whose id is not what the file says */

	size_t texts_room; /* while it is read, as all below */
	uint32_t tokens_room;
	uint32_t *table; /* (table_size,) place in tokens + 1, or 0; owned */
	size_t table_size;
};

/* The tokenizer of a model; if it is that of one of known, (n,), which may be
 * NULL, that one is shared: models of one base are read once. -ENOENT with a
 * sentence that names the files looked for; -EINVAL with one that names file
 * and place. */
int tokenizer_read(const struct source *source, struct tokenizer *const *known,
		   size_t n, struct tokenizer **ret, struct error *err);
void tokenizer_free(struct tokenizer *tokenizer);
DEFINE_AUTO(tokenizer, tokenizer_free);

/* By its text; NULL if there is none such. */
const struct token *tokenizer_find(const struct tokenizer *tokenizer,
				   const char *text, size_t length);

/* By its id; NULL for a hole. */
const struct token *tokenizer_at(const struct tokenizer *tokenizer,
				 uint32_t id);

static inline const char *token_text(const struct tokenizer *tokenizer,
				     const struct token *token)
{
	return tokenizer->texts + token->text;
}

/* Each format's parser, for tokenizer_read() and the tests. */
int tokenizer_parse_json(const char *text, size_t size, const char *path,
			 struct tokenizer **ret, struct error *err);
int tokenizer_parse_sentencepiece(const char *data, size_t size,
				  const char *path, struct tokenizer **ret,
				  struct error *err);

#endif
