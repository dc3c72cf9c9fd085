/*
 * The files of the output's tokenizer: those of its basis with tokens left out
 * and added.
 */
#include "merge/tokenizer/write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cache/value.h"
#include "merge/source/source.h"
#include "merge/tokenizer/edit.h"
#include "merge/tokenizer/files.h"
#include "merge/tokenizer/tokenizer_private.h"
#include "merge/tokenizer/vocabulary.h"
#include "util/json.h"

struct writing {
	const struct vocabulary *vocabulary;
	struct json_reader reader;
	struct edit edit;
	struct text scratch;
	bool in_model; /* new tokens must stand in the model as well */
	bool has_added;
};

static const struct tokenizer *tokens_of(const struct writing *writing)
{
	return writing->vocabulary->tokens;
}

/* The token as a JSON string. */
static void put_quoted(struct text *text, const struct tokenizer *tokens,
		       const struct token *token)
{
	AUTO_FREE char *plain =
		strndup(token_text(tokens, token), token->length);
	AUTO_FREE char *quoted = plain ? json_quote(plain) : NULL;

	if (quoted)
		text_puts(text, quoted);
	else
		text->failed = true;
}

static const char *truth(uint32_t flags, uint32_t flag)
{
	return flags & flag ? "true" : "false";
}

static void put_flags(struct text *text, const struct tokenizer *tokens,
		      const struct token *token)
{
	text_puts(text, "\"content\": ");
	put_quoted(text, tokens, token);
	text_printf(text,
		    ", \"single_word\": %s, \"lstrip\": %s, \"rstrip\": %s, "
		    "\"normalized\": %s, \"special\": %s}",
		    truth(token->flags, TOKEN_SINGLE_WORD),
		    truth(token->flags, TOKEN_LSTRIP),
		    truth(token->flags, TOKEN_RSTRIP),
		    truth(token->flags, TOKEN_NORMALIZED),
		    truth(token->flags, TOKEN_SPECIAL));
}

/* {"id": 7, "content": ...}: an element of added_tokens. */
static void put_entry(struct text *text, const struct tokenizer *tokens,
		      const struct token *token)
{
	text_printf(text, "{\"id\": %" PRIu32 ", ", token->id);
	put_flags(text, tokens, token);
}

/* "7": {"content": ...}: a member of added_tokens_decoder. */
static void put_member(struct text *text, const struct tokenizer *tokens,
		       const struct token *token)
{
	text_printf(text, "\"%" PRIu32 "\": {", token->id);
	put_flags(text, tokens, token);
}

/* "token": 7 */
static void put_id(struct text *text, const struct tokenizer *tokens,
		   const struct token *token)
{
	put_quoted(text, tokens, token);
	text_printf(text, ": %" PRIu32, token->id);
}

typedef void put_fn(struct text *text, const struct tokenizer *tokens,
		    const struct token *token);

/* All that the basis' list does not have, with commas between them. */
static void put_more(const struct vocabulary *vocabulary, bool defined,
		     put_fn *put, struct text *text)
{
	const struct tokenizer *tokens = vocabulary->tokens;
	const char *comma = "";

	for (uint32_t i = 0; defined && i < vocabulary->n_defined; i++) {
		text_puts(text, comma);
		put(text, tokens, tokenizer_at(tokens, vocabulary->defined[i]));
		comma = ",\n";
	}
	for (uint32_t i = 0; i < vocabulary->n_new; i++) {
		text_puts(text, comma);
		put(text, tokens,
		    tokenizer_at(tokens, vocabulary->basis_end + i));
		comma = ",\n";
	}
}

static int end_list(struct writing *writing, struct edit_list *list,
		    bool defined, put_fn *put)
{
	struct text more = {0};

	if (put)
		put_more(writing->vocabulary, defined, put, &more);
	edit_list_end(&writing->edit, list, &more);
	bool failed = more.failed;
	text_done(&more);
	return failed ? -ENOMEM : 0;
}

/* Is the text a token that the output has from the basis? One that was left out
 * there may have come again from another model. */
static bool stays(const struct writing *writing, const char *text,
		  size_t length)
{
	const struct token *token =
		tokenizer_find(tokens_of(writing), text, length);

	return token && token->id < writing->vocabulary->basis_end;
}

static bool last_stays(const struct writing *writing)
{
	return stays(writing, writing->reader.string, writing->reader.length);
}

/* Reads an element (or, in an object, what its key is of); *keep: does it stay?
 * True at first. */
typedef int judge_fn(struct writing *writing, bool *keep);

/* All elements of a list or an object, and put's of new tokens behind them. */
static int edit_elements(struct writing *writing, char bracket, judge_fn *judge,
			 bool defined, put_fn *put)
{
	struct json_reader *reader = &writing->reader;
	struct edit_list list;
	int r = json_reader_enter(reader, bracket);

	edit_list_begin(&list, reader);
	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		const char *element = reader->element;
		bool keep = true;
		r = judge(writing, &keep);
		reader->element = element;
		if (r == 0)
			edit_list_element(&writing->edit, &list, reader, keep);
	}
	return r < 0 ? r : end_list(writing, &list, defined, put);
}

/* An added token: its content decides. */
static int judge_entry(struct writing *writing, bool *keep)
{
	struct json_reader *reader = &writing->reader;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		bool content = json_reader_is(reader, "content");
		r = content ? json_reader_string(reader)
			    : json_reader_skip(reader);
		if (content && r == 0)
			*keep = reader->length == 0 || last_stays(writing);
	}
	return r;
}

/* Of "token": id. */
static int judge_key(struct writing *writing, bool *keep)
{
	*keep = last_stays(writing);
	return json_reader_skip(&writing->reader);
}

/* A piece of Unigram: ["token", score] */
static int judge_piece(struct writing *writing, bool *keep)
{
	struct json_reader *reader = &writing->reader;
	int r = json_reader_enter(reader, '[');

	for (bool first = true; r == 0 && (r = json_reader_next(reader)) > 0;
	     first = false) {
		r = json_reader_skip(reader);
		if (first)
			*keep = last_stays(writing);
	}
	return r;
}

/* Both sides and both joined, in scratch behind each other. */
static bool merge_stays(const struct writing *writing, size_t left)
{
	const struct text *both = &writing->scratch;

	return stays(writing, both->data, left) &&
	       stays(writing, both->data + left, both->length - left) &&
	       stays(writing, both->data, both->length);
}

static int judge_merge(struct writing *writing, bool *keep)
{
	struct json_reader *reader = &writing->reader;
	struct text *both = &writing->scratch;
	size_t left = 0;
	int r;

	both->length = 0;
	if (json_reader_peek(reader) == '"') {
		r = json_reader_string(reader);
		if (r < 0)
			return r;
		const char *space = memchr(reader->string, ' ', reader->length);
		*keep = !space;
		if (!space)
			return 0;
		left = (size_t)(space - reader->string);
		text_append(both, reader->string, left);
		text_append(both, space + 1, reader->length - left - 1);
	} else {
		r = json_reader_enter(reader, '[');
		while (r == 0 && (r = json_reader_next(reader)) > 0) {
			left = both->length;
			r = json_reader_string(reader);
			text_append(both, reader->string, reader->length);
		}
		if (r < 0)
			return r;
	}
	*keep = both->failed || merge_stays(writing, left);
	return both->failed ? -ENOMEM : 0;
}

/* The list of added tokens, or null. */
static int edit_added(struct writing *writing)
{
	struct json_reader *reader = &writing->reader;
	struct text more = {0};

	writing->has_added = true;
	if (json_reader_peek(reader) == '[')
		return edit_elements(writing, '[', judge_entry, true,
				     put_entry);
	const char *begin = reader->at;
	int r = json_reader_skip(reader);
	text_puts(&more, "[");
	put_more(writing->vocabulary, true, put_entry, &more);
	text_puts(&more, "]");
	if (!more.failed)
		edit_replace(&writing->edit, begin, reader->at, more.data,
			     more.length);
	r = r == 0 && more.failed ? -ENOMEM : r;
	text_done(&more);
	return r;
}

static int edit_vocab(struct writing *writing)
{
	if (json_reader_peek(&writing->reader) == '[')
		return edit_elements(writing, '[', judge_piece, false, NULL);
	return edit_elements(writing, '{', judge_key, false,
			     writing->in_model ? put_id : NULL);
}

static int edit_model(struct writing *writing)
{
	struct json_reader *reader = &writing->reader;
	bool stripped = writing->vocabulary->n_stripped > 0;
	int r = json_reader_enter(reader, '{');

	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		if (json_reader_is(reader, "vocab"))
			r = edit_vocab(writing);
		else if (stripped && json_reader_is(reader, "merges") &&
			 json_reader_peek(reader) == '[')
			r = edit_elements(writing, '[', judge_merge, false,
					  NULL);
		else
			r = json_reader_skip(reader);
	}
	return r;
}

/* An object is left as it is, with another member behind the last: all new
 * tokens, between two brackets. */
static int add_member(struct writing *writing, struct edit_list *list,
		      const char *key, put_fn *put, const char *brackets)
{
	struct text more = {0};

	text_printf(&more, "\"%s\": %c", key, brackets[0]);
	put_more(writing->vocabulary, true, put, &more);
	text_puts(&more, brackets + 1);
	edit_list_end(&writing->edit, list, &more);
	bool failed = more.failed;
	text_done(&more);
	return failed ? -ENOMEM : 0;
}

static int edit_tokenizer(struct writing *writing)
{
	struct json_reader *reader = &writing->reader;
	const struct vocabulary *vocabulary = writing->vocabulary;
	bool model = vocabulary->n_stripped > 0 || writing->in_model;
	struct edit_list list;
	int r = json_reader_enter(reader, '{');

	edit_list_begin(&list, reader);
	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		if (json_reader_is(reader, "added_tokens"))
			r = edit_added(writing);
		else if (model && json_reader_is(reader, "model"))
			r = edit_model(writing);
		else
			r = json_reader_skip(reader);
		list.kept = list.end = reader->at;
		list.any = true;
	}
	if (r == 0 && !writing->has_added)
		r = add_member(writing, &list, "added_tokens", put_entry, "[]");
	return r;
}

/* Would loaders give the first new token another id than ours? */
static bool needs_model(const struct vocabulary *vocabulary)
{
	const struct tokenizer *tokens = vocabulary->tokens;
	int64_t most_added = -1;
	uint32_t n_model = 0;

	for (uint32_t i = 0; i < tokens->n_tokens; i++) {
		const struct token *token = &tokens->tokens[i];
		if (token->id >= vocabulary->basis_end)
			break;
		n_model += (token->flags & TOKEN_MODEL) != 0;
		if (token->flags & TOKEN_ADDED)
			most_added = token->id;
	}
	return vocabulary->n_new > 0 &&
	       tokenizer_next_id(n_model, most_added) != vocabulary->basis_end;
}

/* Edits a text with `part`; *ret is malloc'ed. */
static int edit_text(const struct vocabulary *vocabulary, const char *text,
		     size_t size, const char *path,
		     int (*part)(struct writing *writing), char **ret,
		     struct error *err)
{
	struct writing writing = {
		.vocabulary = vocabulary,
		.in_model = needs_model(vocabulary),
	};

	json_reader_init(&writing.reader, text, size, path, err);
	edit_init(&writing.edit, &writing.reader);
	int r = part(&writing);
	AUTO_FREE char *edited = edit_take(&writing.edit, &writing.reader);
	json_reader_done(&writing.reader);
	text_done(&writing.scratch);
	if (r == -ENOMEM || (r == 0 && !edited))
		return error_set(err, -ENOMEM, "out of memory");
	if (r < 0)
		return r;
	*ret = TAKE(edited);
	return 0;
}

/* Does the tokenizer.json say what is added, and how? */
static bool is_whole(const struct vocabulary *vocabulary)
{
	return strcmp(vocabulary->basis_file, "tokenizer.json") == 0;
}

/* added_tokens_decoder, where there is one, or where nothing else has the flags
 * of tokens: loaders believe it. */
static int edit_config(struct writing *writing)
{
	static const char key[] = "added_tokens_decoder";
	struct json_reader *reader = &writing->reader;
	struct edit_list list;
	bool found = is_whole(writing->vocabulary);
	int r = json_reader_enter(reader, '{');

	edit_list_begin(&list, reader);
	while (r == 0 && (r = json_reader_next(reader)) > 0) {
		if (json_reader_is(reader, key) &&
		    json_reader_peek(reader) == '{') {
			found = true;
			r = edit_elements(writing, '{', judge_entry, true,
					  put_member);
		} else {
			r = json_reader_skip(reader);
		}
		list.kept = list.end = reader->at;
		list.any = true;
	}
	return r < 0 || found
		       ? r
		       : add_member(writing, &list, key, put_member, "{}");
}

/* added_tokens.json: {"token": id} */
static int edit_ids(struct writing *writing)
{
	return edit_elements(writing, '{', judge_key, false, put_id);
}

/* The same, made anew: of what the basis' other files lack. */
static int edit_new_ids(struct writing *writing)
{
	struct json_reader *reader = &writing->reader;
	struct edit_list list;
	int r = json_reader_enter(reader, '{');

	edit_list_begin(&list, reader);
	if (r == 0)
		r = json_reader_next(reader);
	return r < 0 ? r : end_list(writing, &list, true, put_id);
}

/* Edits the basis' file of that name. */
static int edit_file(const struct vocabulary *vocabulary, const char *name,
		     char **ret, struct error *err)
{
	static const struct {
		const char *name;
		int (*part)(struct writing *writing);
	} known[] = {
		{"tokenizer.json", edit_tokenizer},
		{"tokenizer_config.json", edit_config},
		{"added_tokens.json", edit_ids},
	};
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *path = NULL;
	size_t size = 0;
	int r = tokenizer_file(vocabulary->basis, name, &text, &size, &path,
			       err);

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].name, name) == 0)
			return edit_text(vocabulary, text, size, path,
					 known[i].part, ret, err);
	}
	return r < 0 ? r : -ENOENT;
}

/* Another version whenever what is written changes. */
static int find_kept(const struct vocabulary *vocabulary, const char *name,
		     struct digest *ret)
{
	struct hasher *hasher = hasher_new("mkfs-mount tokenizer file 1");
	if (!hasher)
		return -ENOMEM;

	hasher_digest(hasher, vocabulary->digest);
	hasher_string(hasher, name);
	*ret = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

int tokenizer_write(const struct vocabulary *vocabulary, const char *name,
		    char **ret, struct error *err)
{
	struct digest key = {0};
	size_t size;
	if (!vocabulary->disk)
		return edit_file(vocabulary, name, ret, err);

	int r = find_kept(vocabulary, name, &key);
	if (r == 0)
		r = value_load(vocabulary->disk, key, ret, &size);
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r == 0)
		return 0;
	r = edit_file(vocabulary, name, ret, err);
	if (r == 0)
		value_store(vocabulary->disk, key, *ret, strlen(*ret));
	return r;
}

int tokenizer_write_new(const struct vocabulary *vocabulary, const char *name,
			char **ret, struct error *err)
{
	bool config = strcmp(name, "tokenizer_config.json") == 0;

	return edit_text(vocabulary, "{}\n", 3, name,
			 config ? edit_config : edit_new_ids, ret, err);
}
