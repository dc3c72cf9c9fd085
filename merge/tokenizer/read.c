/* The tokenizer of a model, from the first kind of files that it has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/source.h"
#include "merge/tokenizer/files.h"
#include "merge/tokenizer/tokenizer_private.h"
#include "util/json.h"
#include "util/json_reader.h"
#include "util/range.h"
#include "util/utf8.h"

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "out of memory");
}

int tokenizer_file(const struct source *source, const char *name, char **ret,
		   size_t *ret_size, char **ret_path, struct error *err)
{
	AUTO(file) file = NULL;
	int r = source_find_file(source, name, &file, err);
	if (r < 0)
		return r;
	r = file_load(file, TOKENIZER_MOST, ret, err);
	if (r < 0)
		return r;
	*ret_size = file->size;
	if (ret_path)
		*ret_path = TAKE(file->path);
	return 0;
}

int tokenizer_json_file(const struct source *source, const char *name,
			cJSON **ret, struct error *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *path = NULL;
	size_t size;

	int r = tokenizer_file(source, name, &text, &size, &path, err);
	if (r == 0)
		r = json_parse(text, size, path, ret, err);
	if (r == 0 && !cJSON_IsObject(*ret))
		r = error_set(err, -EINVAL, "%s: not a JSON object", path);
	return r;
}

static int put_slow(struct tokenizer *tokenizer, const char *path,
		    const char *text, size_t length, uint32_t id,
		    uint32_t flags, struct error *err)
{
	struct token *token;

	if (id >= TOKEN_ID_END)
		return error_set(err, -EINVAL,
				 "%s: id %u is beyond what any vocabulary has",
				 path, id);
	int r = tokenizer_put(tokenizer, text, length, id, flags, &token);
	if (r < 0)
		return error_set(err, r, "%s: %s", path, strerror(-r));
	if (r == 0)
		token->flags |= flags;
	return 0;
}

/* {"token": id, ...}: vocab.json and added_tokens.json. */
static int put_map(struct tokenizer *tokenizer, const char *text, size_t size,
		   const char *path, uint32_t flags, struct error *err)
{
	struct json_reader reader;
	json_reader_init(&reader, text, size, path, err);

	int r = json_reader_enter(&reader, '{');
	while (r == 0 && (r = json_reader_next(&reader)) > 0) {
		uint32_t id;
		r = json_reader_u32(&reader, &id);
		if (r == 0)
			r = put_slow(tokenizer, path, reader.string,
				     reader.length, id, flags, err);
	}
	if (r == 0)
		r = json_reader_finish(&reader);
	json_reader_done(&reader);
	return r;
}

static int parse_vocab_json(const char *text, size_t size, const char *path,
			    struct tokenizer **ret, struct error *err)
{
	AUTO(tokenizer) tokenizer = calloc(1, sizeof(*tokenizer));
	if (!tokenizer)
		return no_memory(err);
	tokenizer->kind = TOKENIZER_BPE;
	tokenizer->file = "vocab.json";
	int r = put_map(tokenizer, text, size, path, TOKEN_MODEL, err);
	if (r == 0)
		*ret = TAKE(tokenizer);
	return r;
}

/* One token on a line. */
static int parse_vocab_txt(const char *text, size_t size, const char *path,
			   struct tokenizer **ret, struct error *err)
{
	AUTO(tokenizer) tokenizer = calloc(1, sizeof(*tokenizer));
	const char *end = text + size;
	uint32_t line = 0;
	if (!tokenizer)
		return no_memory(err);

	tokenizer->kind = TOKENIZER_WORDPIECE;
	tokenizer->file = "vocab.txt";
	for (const char *at = text; at < end; line++) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		if (!stop)
			stop = end;
		const char *last =
			stop > at && stop[-1] == '\r' ? stop - 1 : stop;
		for (const char *p = at; p < last;) {
			size_t n = utf8_sequence((const unsigned char *)p,
						 (size_t)(last - p));
			if (n == 0 || *p == '\0')
				return error_set(err, -EINVAL,
						 "%s:%u: not UTF-8", path,
						 line + 1);
			p += n;
		}
		int r = put_slow(tokenizer, path, at, (size_t)(last - at), line,
				 TOKEN_MODEL, err);
		if (r < 0)
			return r;
		at = stop < end ? stop + 1 : end;
	}
	*ret = TAKE(tokenizer);
	return 0;
}

const struct token_flag_key token_flags[N_TOKEN_FLAGS] = {
	{"special", TOKEN_SPECIAL},	    {"normalized", TOKEN_NORMALIZED},
	{"lstrip", TOKEN_LSTRIP},	    {"rstrip", TOKEN_RSTRIP},
	{"single_word", TOKEN_SINGLE_WORD},
};

uint32_t tokenizer_flags(const cJSON *entry)
{
	uint32_t flags = TOKEN_ADDED;

	for (size_t i = 0; i < N_TOKEN_FLAGS; i++) {
		if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(
			    entry, token_flags[i].key)))
			flags |= token_flags[i].flag;
	}
	return flags;
}

/* added_tokens_decoder of tokenizer_config.json. */
static int put_decoder(struct tokenizer *tokenizer, const struct source *source,
		       struct error *err)
{
	AUTO(cJSON) config = NULL;
	const cJSON *entry;
	int r = tokenizer_json_file(source, "tokenizer_config.json", &config,
				    err);
	if (r < 0)
		return r == -ENOENT ? 0 : r;

	const cJSON *list = json_at(config, "added_tokens_decoder");
	cJSON_ArrayForEach(entry, list)
	{
		const cJSON *content = json_at(entry, "content");
		char *end = NULL;
		unsigned long id =
			entry->string ? strtoul(entry->string, &end, 10) : 0;
		if (!end || *end || end == entry->string ||
		    !cJSON_IsString(content) || id >= TOKEN_ID_END)
			return error_set(err, -EINVAL,
					 "%s/tokenizer_config.json: an entry "
					 "of added_tokens_decoder is not "
					 "\"ID\": {\"content\": ...}",
					 source->directory);
		r = put_slow(tokenizer, "tokenizer_config.json",
			     content->valuestring, strlen(content->valuestring),
			     (uint32_t)id, tokenizer_flags(entry), err);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What stands beside the files that are not tokenizer.json. */
static int put_beside(struct tokenizer *tokenizer, const struct source *source,
		      struct error *err)
{
	AUTO_FREE char *text = NULL;
	AUTO_FREE char *path = NULL;
	size_t size;

	int r = put_decoder(tokenizer, source, err);
	if (r < 0)
		return r;
	r = tokenizer_file(source, "added_tokens.json", &text, &size, &path,
			   err);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = put_map(tokenizer, text, size, path, TOKEN_ADDED, err);
	return r;
}

static const struct format {
	const char *name;
	int (*parse)(const char *text, size_t size, const char *path,
		     struct tokenizer **ret, struct error *err);
	const char *with; /* another file that must be there, or NULL */
	bool whole;	  /* it says everything */
} formats[] = {
	{"tokenizer.json", tokenizer_parse_json, NULL, true},
	{"vocab.json", parse_vocab_json, "merges.txt", false},
	{"vocab.txt", parse_vocab_txt, NULL, false},
	{"tokenizer.model", tokenizer_parse_sentencepiece, NULL, false},
};

static bool has_file(const struct source *source, const char *name)
{
	AUTO(file) file = NULL;

	return source_find_file(source, name, &file, NULL) == 0;
}

static struct tokenizer *find_known(struct tokenizer *const *known, size_t n,
				    struct digest content)
{
	for (size_t i = 0; i < n; i++) {
		if (known[i] && digest_equal(known[i]->content, content))
			return known[i];
	}
	return NULL;
}

/* Those whose file says everything. */
static int read_whole(const struct format *format, const char *text,
		      size_t size, const char *path,
		      struct tokenizer *const *known, size_t n,
		      struct tokenizer **ret, struct error *err)
{
	struct digest content = digest_of(text, size, 1);
	struct tokenizer *same = find_known(known, n, content);
	if (same) {
		same->n_shares++;
		*ret = same;
		return 0;
	}

	int r = format->parse(text, size, path, ret, err);
	if (r == 0)
		(*ret)->content = content;
	return r;
}

static int read_slow(const struct source *source, const struct format *format,
		     const char *text, size_t size, const char *path,
		     struct tokenizer **ret, struct error *err)
{
	AUTO(tokenizer) tokenizer = NULL;

	int r = format->parse(text, size, path, &tokenizer, err);
	if (r == 0)
		r = put_beside(tokenizer, source, err);
	if (r == 0)
		r = tokenizer_seal(tokenizer, path, err);
	if (r == 0)
		*ret = TAKE(tokenizer);
	return r;
}

int tokenizer_read(const struct source *source, struct tokenizer *const *known,
		   size_t n, struct tokenizer **ret, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct format *format = &formats[i];
		AUTO_FREE char *text = NULL;
		AUTO_FREE char *path = NULL;
		size_t size;
		if (format->with && !has_file(source, format->with))
			continue;
		int r = tokenizer_file(source, format->name, &text, &size,
				       &path, err);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		return format->whole ? read_whole(format, text, size, path,
						  known, n, ret, err)
				     : read_slow(source, format, text, size,
						 path, ret, err);
	}
	return error_set(err, -ENOENT,
			 "%s: no tokenizer in it (tokenizer.json, vocab.json "
			 "and merges.txt, vocab.txt or tokenizer.model)",
			 source->directory);
}
