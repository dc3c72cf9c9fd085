#include "merge/tokenizer/tokenizer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "merge/tokenizer/tokenizer_private.h"
#include "util/range.h"

void tokenizer_free(struct tokenizer *tokenizer)
{
	if (!tokenizer)
		return;
	if (tokenizer->n_shares > 0) {
		tokenizer->n_shares--;
		return;
	}
	free(tokenizer->tokens);
	free(tokenizer->texts);
	free(tokenizer->table);
	free(tokenizer);
}

/* Linear probing: the place of the text, or the empty one where it would be. */
static uint32_t *find_place(const struct tokenizer *tokenizer, const char *text,
			    size_t length)
{
	size_t mask = tokenizer->table_size - 1;
	size_t i = (size_t)digest_of(text, length, 0).low & mask;

	for (;; i = (i + 1) & mask) {
		uint32_t *place = &tokenizer->table[i];
		if (!*place)
			return place;
		const struct token *token = &tokenizer->tokens[*place - 1];
		if (token->length == length &&
		    memcmp(token_text(tokenizer, token), text, length) == 0)
			return place;
	}
}

/* The table anew, of twice the size that n tokens need. */
static int build_table(struct tokenizer *tokenizer, uint32_t n)
{
	size_t size = 64;
	while (size < 2 * (size_t)n)
		size *= 2;

	uint32_t *table = calloc(size, sizeof(*table));
	if (!table)
		return -ENOMEM;
	free(tokenizer->table);
	tokenizer->table = table;
	tokenizer->table_size = size;
	for (uint32_t i = 0; i < tokenizer->n_tokens; i++) {
		const struct token *token = &tokenizer->tokens[i];
		*find_place(tokenizer, token_text(tokenizer, token),
			    token->length) = i + 1;
	}
	return 0;
}

static int make_token_room(struct tokenizer *tokenizer)
{
	if (tokenizer->n_tokens < tokenizer->tokens_room)
		return 0;

	uint32_t room =
		tokenizer->tokens_room ? 2 * tokenizer->tokens_room : 1024;
	struct token *tokens =
		reallocarray(tokenizer->tokens, room, sizeof(*tokens));
	if (!tokens)
		return -ENOMEM;
	tokenizer->tokens = tokens;
	tokenizer->tokens_room = room;
	return build_table(tokenizer, room);
}

static int make_text_room(struct tokenizer *tokenizer, size_t length)
{
	if (length < tokenizer->texts_room - tokenizer->texts_size)
		return 0;

	size_t room = 2 * (tokenizer->texts_size + length) + 4096;
	if (room > UINT32_MAX)
		return -E2BIG;
	char *texts = realloc(tokenizer->texts, room);
	if (!texts)
		return -ENOMEM;
	tokenizer->texts = texts;
	tokenizer->texts_room = room;
	return 0;
}

int tokenizer_put(struct tokenizer *tokenizer, const char *text, size_t length,
		  uint32_t id, uint32_t flags, struct token **ret)
{
	int r = tokenizer->n_tokens < TOKEN_ID_END ? make_token_room(tokenizer)
						   : -E2BIG;
	if (r == 0)
		r = make_text_room(tokenizer, length);
	if (r < 0)
		return r;

	uint32_t *place = find_place(tokenizer, text, length);
	if (*place) {
		*ret = &tokenizer->tokens[*place - 1];
		return 0;
	}
	struct token *token = &tokenizer->tokens[tokenizer->n_tokens];
	*token = (struct token){
		.text = (uint32_t)tokenizer->texts_size,
		.length = (uint32_t)length,
		.id = id,
		.flags = flags,
	};
	memcpy(tokenizer->texts + token->text, text, length);
	tokenizer->texts_size += length;
	*place = ++tokenizer->n_tokens;
	*ret = token;
	return 1;
}

static int compare_ids(const void *a, const void *b)
{
	const struct token *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_sorted(const struct tokenizer *tokenizer)
{
	for (uint32_t i = 1; i < tokenizer->n_tokens; i++) {
		if (tokenizer->tokens[i].id <= tokenizer->tokens[i - 1].id)
			return false;
	}
	return true;
}

static int check_ids(const struct tokenizer *tokenizer, const char *path,
		     struct error *err)
{
	for (uint32_t i = 1; i < tokenizer->n_tokens; i++) {
		const struct token *a = &tokenizer->tokens[i - 1], *b = a + 1;
		if (a->id != b->id)
			continue;
		return error_set(err, -EINVAL,
				 "%s: two tokens have id %u: '%.*s' and '%.*s'",
				 path, a->id, (int)min_u64(a->length, 60),
				 token_text(tokenizer, a),
				 (int)min_u64(b->length, 60),
				 token_text(tokenizer, b));
	}
	return 0;
}

int tokenizer_seal(struct tokenizer *tokenizer, const char *path,
		   struct error *err)
{
	if (tokenizer->n_tokens == 0)
		return error_set(err, -EINVAL, "%s: it has no tokens", path);
	if (!is_sorted(tokenizer)) {
		qsort(tokenizer->tokens, tokenizer->n_tokens,
		      sizeof(*tokenizer->tokens), compare_ids);
		int r = check_ids(tokenizer, path, err);
		if (r < 0)
			return r;
		if (build_table(tokenizer, tokenizer->n_tokens) < 0)
			return error_set(err, -ENOMEM, "out of memory");
	}
	tokenizer->end = tokenizer->tokens[tokenizer->n_tokens - 1].id + 1;
	return 0;
}

uint32_t tokenizer_next_id(uint32_t n_model, int64_t most_added)
{
	return most_added >= (int64_t)n_model ? (uint32_t)most_added + 1
					      : n_model;
}

const struct token *tokenizer_find(const struct tokenizer *tokenizer,
				   const char *text, size_t length)
{
	if (tokenizer->table_size == 0)
		return NULL;
	const uint32_t *place = find_place(tokenizer, text, length);
	return *place ? &tokenizer->tokens[*place - 1] : NULL;
}

const struct token *tokenizer_at(const struct tokenizer *tokenizer, uint32_t id)
{
	struct token key = {.id = id};

	/* Without holes, a token's place is its id. */
	if (id < tokenizer->n_tokens && tokenizer->tokens[id].id == id)
		return &tokenizer->tokens[id];
	return bsearch(&key, tokenizer->tokens, tokenizer->n_tokens,
		       sizeof(key), compare_ids);
}
