/* tokenizer.json, as the tokenizers library reads it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/tokenizer/files.h"
#include "merge/tokenizer/tokenizer_private.h"
#include "util/json_reader.h"
#include "util/range.h"

struct parse {
	struct json_reader reader;
	struct tokenizer *tokenizer;
	uint32_t n_model;     /* tokens of the model */
	int64_t most_added;   /* largest id of an added token, or -1 */
	struct digest cut[2]; /* normalizer, pre_tokenizer */
	const char *added;    /* where the list is, or NULL */
	const char *merges;   /* likewise */
	char prefix[64];      /* continuing_subword_prefix */
	size_t prefix_length;
	bool has_vocab;
};

static int fail(struct parse *parse, const char *what)
{
	return json_reader_error(&parse->reader, what);
}

static int put(struct parse *parse, const char *text, size_t length,
	       uint32_t id, uint32_t flags, struct token **ret)
{
	int r = tokenizer_put(parse->tokenizer, text, length, id, flags, ret);

	if (r == -E2BIG)
		return fail(parse, "more tokens than any vocabulary has");
	return r < 0 ? error_set(parse->reader.err, r, "out of memory") : r;
}

static int put_new(struct parse *parse, uint32_t id)
{
	struct json_reader *reader = &parse->reader;
	struct token *token;
	char what[128];

	if (id >= TOKEN_ID_END) {
		snprintf(what, sizeof(what),
			 "id %u is beyond what any vocabulary has", id);
		return fail(parse, what);
	}
	int r = put(parse, reader->string, reader->length, id, TOKEN_MODEL,
		    &token);
	if (r == 0) {
		snprintf(what, sizeof(what),
			 "token '%.*s' is in the vocabulary twice",
			 (int)min_u64(reader->length, 60), reader->string);
		return fail(parse, what);
	}
	parse->n_model++;
	return r < 0 ? r : 0;
}

/* {"token": id, ...} */
static int parse_vocab_map(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		uint32_t id;
		/* Which leaves the key where it is. */
		r = json_reader_u32(reader, &id);
		if (r == 0)
			r = put_new(parse, id);
	}
	return r;
}

/* [["token", score], ...]; the place is the id. */
static int parse_vocab_list(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;
	int r = json_reader_enter(reader, '[');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		r = json_reader_enter(reader, '[');
		if (r == 0)
			r = json_reader_next(reader);
		if (r == 0)
			r = fail(parse, "a piece needs a token and a score");
		if (r > 0)
			r = json_reader_string(reader);
		if (r == 0)
			r = put_new(parse, parse->n_model);
		while (r == 0 && (r = json_reader_next(reader)) > 0)
			r = json_reader_skip(reader);
	}
	return r;
}

static int parse_kind(struct parse *parse)
{
	static const char *const names[] = {
		[TOKENIZER_BPE] = "BPE",
		[TOKENIZER_UNIGRAM] = "Unigram",
		[TOKENIZER_WORDPIECE] = "WordPiece",
		[TOKENIZER_WORDLEVEL] = "WordLevel",
	};

	int r = json_reader_string(&parse->reader);
	if (r < 0)
		return r;
	for (unsigned i = TOKENIZER_BPE; i < ARRAY_SIZE(names); i++) {
		if (!json_reader_is(&parse->reader, names[i]))
			continue;
		parse->tokenizer->kind = (enum tokenizer_kind)i;
		return 0;
	}
	return fail(parse, "no such type of model; it can be BPE, Unigram, "
			   "WordPiece or WordLevel");
}

static int parse_prefix(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;

	if (json_reader_peek(reader) != '"')
		return json_reader_skip(reader);
	int r = json_reader_string(reader);
	if (r < 0)
		return r;
	if (reader->length > sizeof(parse->prefix))
		return fail(parse, "a prefix of absurd length");
	memcpy(parse->prefix, reader->string, reader->length);
	parse->prefix_length = reader->length;
	return 0;
}

static int parse_vocab(struct parse *parse)
{
	if (parse->has_vocab)
		return fail(parse, "\"vocab\" stands twice");
	parse->has_vocab = true;
	return json_reader_peek(&parse->reader) == '[' ? parse_vocab_list(parse)
						       : parse_vocab_map(parse);
}

static int parse_model(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		if (json_reader_is(reader, "vocab")) {
			r = parse_vocab(parse);
		} else if (json_reader_is(reader, "type")) {
			r = parse_kind(parse);
		} else if (json_reader_is(reader,
					  "continuing_subword_prefix")) {
			r = parse_prefix(parse);
		} else {
			bool merges = json_reader_is(reader, "merges");
			json_reader_peek(reader);
			if (merges && parse->merges)
				return fail(parse, "\"merges\" stands twice");
			if (merges)
				parse->merges = reader->at;
			r = json_reader_skip(reader);
		}
	}
	if (r == 0 && !parse->has_vocab)
		r = fail(parse, "the model has no \"vocab\"");
	return r;
}

/* Bytes of a value without white space outside strings. */
static int digest_value(struct parse *parse, struct digest *ret)
{
	struct json_reader *reader = &parse->reader;

	json_reader_peek(reader);
	const char *begin = reader->at;
	int r = json_reader_skip(reader);
	if (r < 0)
		return r;

	size_t size = (size_t)(reader->at - begin), n = 0;
	AUTO_FREE char *squeezed = malloc(size + 1);
	if (!squeezed)
		return error_set(reader->err, -ENOMEM, "out of memory");
	bool quoted = false;
	for (size_t i = 0; i < size; i++) {
		char c = begin[i];
		if (!quoted && strchr(" \t\r\n", c))
			continue;
		squeezed[n++] = c;
		if (c == '"')
			quoted = !quoted;
		else if (quoted && c == '\\')
			squeezed[n++] = begin[++i];
	}
	*ret = digest_of(squeezed, n, 0);
	return 0;
}

static int parse_flag(struct parse *parse, uint32_t *flags)
{
	bool value;

	for (size_t i = 0; i < N_TOKEN_FLAGS; i++) {
		if (!json_reader_is(&parse->reader, token_flags[i].key))
			continue;
		int r = json_reader_bool(&parse->reader, &value);
		*flags = value ? *flags | token_flags[i].flag
			       : *flags & ~token_flags[i].flag;
		return r;
	}
	return json_reader_skip(&parse->reader);
}

/* An entry of added_tokens: its text goes to *content (owned). */
static int parse_added_entry(struct parse *parse, char **content,
			     size_t *length, uint32_t *id, uint32_t *flags)
{
	struct json_reader *reader = &parse->reader;
	bool has_id = false;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		if (json_reader_is(reader, "id")) {
			has_id = true;
			r = json_reader_u32(reader, id);
		} else if (json_reader_is(reader, "content")) {
			r = json_reader_string(reader);
			free(*content);
			*content = r < 0 ? NULL : malloc(reader->length + 1);
			if (r == 0 && !*content)
				return error_set(reader->err, -ENOMEM,
						 "out of memory");
			*length = reader->length;
			if (r == 0)
				memcpy(*content, reader->string, *length);
		} else {
			r = parse_flag(parse, flags);
		}
	}
	if (r == 0 && (!*content || !has_id))
		r = fail(parse, "an added token needs content and id");
	return r;
}

static int put_added(struct parse *parse, const char *content, size_t length,
		     uint32_t said, uint32_t flags)
{
	uint32_t next = tokenizer_next_id(parse->n_model, parse->most_added);
	struct token *token;

	int r = put(parse, content, length, next, 0, &token);
	if (r < 0)
		return r;
	token->flags = (token->flags & TOKEN_MODEL) | TOKEN_ADDED | flags;
	if (token->id > parse->most_added)
		parse->most_added = token->id;
	parse->tokenizer->n_moved += token->id != said;
	return 0;
}

static int parse_added(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;

	if (json_reader_peek(reader) == 'n')
		return json_reader_skip(reader);
	int r = json_reader_enter(reader, '[');
	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		AUTO_FREE char *content = NULL;
		size_t length = 0;
		uint32_t id = 0, flags = 0;
		r = parse_added_entry(parse, &content, &length, &id, &flags);
		/* An empty one is dropped by loaders, too. */
		if (r == 0 && length > 0)
			r = put_added(parse, content, length, id, flags);
	}
	return r;
}

static int parse_top(struct parse *parse)
{
	static const char *const others[] = {"version", "truncation", "padding",
					     "post_processor", "decoder"};
	struct json_reader *reader = &parse->reader;

	if (json_reader_is(reader, "model"))
		return parse->has_vocab ? fail(parse, "\"model\" stands twice")
					: parse_model(parse);
	if (json_reader_is(reader, "normalizer"))
		return digest_value(parse, &parse->cut[0]);
	if (json_reader_is(reader, "pre_tokenizer"))
		return digest_value(parse, &parse->cut[1]);
	if (json_reader_is(reader, "added_tokens")) {
		json_reader_peek(reader);
		parse->added = reader->at;
		return json_reader_skip(reader);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		if (json_reader_is(reader, others[i]))
			return json_reader_skip(reader);
	}
	char what[128];
	snprintf(what, sizeof(what),
		 "key \"%.*s\" is none of a tokenizer.json, which loaders "
		 "refuse",
		 (int)min_u64(reader->length, 40), reader->string);
	return fail(parse, what);
}

/* One side of a merge, or both joined, must be a token of the model. */
static int check_known(struct parse *parse, const char *text, size_t length)
{
	const struct token *token =
		tokenizer_find(parse->tokenizer, text, length);
	char what[128];

	if (token && (token->flags & TOKEN_MODEL))
		return 0;
	snprintf(what, sizeof(what),
		 "a merge speaks of '%.*s', which is not in the vocabulary",
		 (int)min_u64(length, 60), text);
	return fail(parse, what);
}

struct join {
	char *data; /* left and right, one behind the other; owned */
	size_t room, left, right;
};

static int join_put(struct parse *parse, struct join *join, size_t at)
{
	const struct json_reader *reader = &parse->reader;

	if (reader->length >= join->room - at) {
		size_t room = 2 * (at + reader->length) + 256;
		char *data = realloc(join->data, room);
		if (!data)
			return error_set(reader->err, -ENOMEM, "out of memory");
		join->data = data;
		join->room = room;
	}
	memcpy(join->data + at, reader->string, reader->length);
	return 0;
}

/* "a b": one space between two tokens. */
static int split_pair(struct parse *parse, struct join *join)
{
	char *space = memchr(join->data, ' ', join->left);
	size_t left = space ? (size_t)(space - join->data) : 0;

	if (!space || memchr(space + 1, ' ', join->left - left - 1))
		return fail(parse, "a merge should be two tokens with one "
				   "space between them");
	join->right = join->left - left - 1;
	join->left = left;
	memmove(space, space + 1, join->right);
	return 0;
}

/* ["a", "b"] or "a b". 1: a pair, 0: a comment. */
static int parse_merge(struct parse *parse, struct join *join)
{
	struct json_reader *reader = &parse->reader;
	int r;

	join->left = join->right = 0;
	if (json_reader_peek(reader) == '"') {
		r = json_reader_string(reader);
		if (r == 0)
			r = join_put(parse, join, 0);
		if (r < 0)
			return r;
		join->left = reader->length;
		if (join->left >= 8 && memcmp(join->data, "#version", 8) == 0)
			return 0;
		r = split_pair(parse, join);
		return r < 0 ? r : 1;
	}
	r = json_reader_enter(reader, '[');
	for (unsigned i = 0; r == 0 && i < 2; i++) {
		r = json_reader_next(reader);
		if (r == 0)
			return fail(parse, "a merge needs two tokens");
		r = r < 0 ? r : json_reader_string(reader);
		if (r == 0)
			r = join_put(parse, join, i ? join->left : 0);
		*(i ? &join->right : &join->left) = reader->length;
	}
	if (r == 0)
		r = json_reader_next(reader);
	if (r > 0)
		return fail(parse, "a merge has more than two tokens");
	return r < 0 ? r : 1;
}

static int check_merge(struct parse *parse, struct join *join)
{
	size_t cut = parse->prefix_length;
	int r = check_known(parse, join->data, join->left);

	if (r == 0)
		r = check_known(parse, join->data + join->left, join->right);
	if (r < 0)
		return r;
	if (cut > join->right)
		return fail(parse, "the right side of a merge lacks the "
				   "continuing_subword_prefix");
	memmove(join->data + join->left, join->data + join->left + cut,
		join->right - cut);
	return check_known(parse, join->data, join->left + join->right - cut);
}

static int parse_merges(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;
	struct join join = {0};
	int r = json_reader_enter(reader, '[');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		r = parse_merge(parse, &join);
		if (r > 0)
			r = check_merge(parse, &join);
	}
	free(join.data);
	return r;
}

/* A second look at a part that was skipped, by now with the vocabulary. */
static int revisit(struct parse *parse, const char *at,
		   int (*part)(struct parse *parse))
{
	if (!at)
		return 0;
	parse->reader.at = at;
	parse->reader.depth = 0;
	return part(parse);
}

static void guess_kind(struct parse *parse)
{
	struct tokenizer *tokenizer = parse->tokenizer;

	if (tokenizer->kind == TOKENIZER_UNKNOWN && parse->merges)
		tokenizer->kind = TOKENIZER_BPE;
}

static int parse_all(struct parse *parse)
{
	struct json_reader *reader = &parse->reader;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0)
		r = parse_top(parse);
	if (r == 0)
		r = json_reader_finish(reader);
	if (r == 0 && !parse->has_vocab)
		r = fail(parse, "it has no \"model\"");
	if (r < 0)
		return r;
	guess_kind(parse);
	if (parse->tokenizer->kind == TOKENIZER_BPE) {
		if (!parse->merges)
			return fail(parse, "a BPE model needs \"merges\"");
		r = revisit(parse, parse->merges, parse_merges);
	}
	if (r == 0)
		r = revisit(parse, parse->added, parse_added);
	parse->tokenizer->cut = digest_of(parse->cut, sizeof(parse->cut), 0);
	return r < 0 ? r
		     : tokenizer_seal(parse->tokenizer, reader->path,
				      reader->err);
}

int tokenizer_parse_json(const char *text, size_t size, const char *path,
			 struct tokenizer **ret, struct error *err)
{
	AUTO(tokenizer) tokenizer = calloc(1, sizeof(*tokenizer));
	struct parse parse = {.tokenizer = tokenizer, .most_added = -1};
	if (!tokenizer)
		return error_set(err, -ENOMEM, "out of memory");

	tokenizer->file = "tokenizer.json";
	json_reader_init(&parse.reader, text, size, path, err);
	int r = parse_all(&parse);
	json_reader_done(&parse.reader);
	if (r < 0)
		return r;
	*ret = TAKE(tokenizer);
	return 0;
}
