#include "merge/tokenizer/vocabulary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/recipe/recipe.h"
#include "merge/source/locate.h"
#include "merge/source/source.h"
#include "merge/tokenizer/tokenizer_private.h"
#include "util/range.h"
#include "util/text.h"

/* Beside enum token_flag, of the output's tokens only: a model defines it as an
 * added token, so that its flags are settled. */
#define DEFINED 0x10000u
#define FLAGS                                                            \
	(TOKEN_ADDED | TOKEN_SPECIAL | TOKEN_NORMALIZED | TOKEN_LSTRIP | \
	 TOKEN_RSTRIP | TOKEN_SINGLE_WORD)

struct making {
	struct vocabulary *vocabulary;
	const struct recipe *recipe;
	const char *directory;
	const struct vocabulary_model *models;
	size_t n_models;
	/* (n_models + 1,) of the models, the last of a source outside; NULL
	 * for a model without: then the basis' stands for it. The first of
	 * those that are equal owns. */
	struct tokenizer **tokenizers;
	const struct tokenizer *basis;
	struct notes *notes;
	struct error *err;
};

static int no_memory(struct making *making)
{
	return error_set(making->err, -ENOMEM, "out of memory");
}

static int note(struct making *making, int r)
{
	return r < 0 ? no_memory(making) : 0;
}

static const char *label(const struct making *making, size_t model)
{
	return making->models[model].ref->path;
}

/* At most this much of a token is shown. */
#define SHOWN 60

static int shown(uint32_t length)
{
	return (int)min_u64(length, SHOWN);
}

/* Reading. */

static int read_models(struct making *making)
{
	for (size_t i = 0; i < making->n_models; i++) {
		struct error err = {0};
		int r = tokenizer_read(making->models[i].source,
				       &making->tokenizers[i], &err);
		if (r == 0)
			continue;
		bool needed = i == making->vocabulary->base &&
			      making->vocabulary->from_base;
		if (r != -ENOENT || needed)
			return error_set(making->err, r, "%s:%u: %s",
					 making->recipe->path,
					 making->recipe->tokenizer.line,
					 err.text);
		r = note(making,
			 notes_add(making->notes,
				   "model %s has no tokenizer; it is taken to "
				   "have that of the base",
				   label(making, i)));
		if (r < 0)
			return r;
	}
	return 0;
}

/* A tokenizer's source that is no model of the merge. */
static int open_outside(struct making *making)
{
	const struct model_ref *ref = &making->recipe->tokenizer.model;
	struct vocabulary *vocabulary = making->vocabulary;
	AUTO_FREE char *directory = NULL;

	int r = locate_model(ref->path, ref->revision, making->directory,
			     &directory, making->err);
	if (r == 0)
		r = source_open_files(directory, ref->path,
				      &vocabulary->outside, making->err);
	if (r == 0)
		r = tokenizer_read(vocabulary->outside,
				   &making->tokenizers[making->n_models],
				   making->err);
	if (r < 0)
		return error_prefix(making->err, r, "%s:%u",
				    making->recipe->path,
				    making->recipe->tokenizer.line);
	return 0;
}

static int find_model(const struct making *making, const struct model_ref *ref)
{
	for (size_t i = 0; i < making->n_models; i++) {
		if (model_ref_equal(making->models[i].ref, ref))
			return (int)i;
	}
	return -1;
}

static int find_basis(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;
	int place = vocabulary->from_base ? (int)vocabulary->base
					  : find_model(making, &wanted->model);

	vocabulary->basis_model = place;
	if (place < 0) {
		int r = open_outside(making);
		if (r < 0)
			return r;
		vocabulary->basis = vocabulary->outside;
		making->basis = making->tokenizers[making->n_models];
	} else {
		vocabulary->basis = making->models[place].source;
		making->basis = making->tokenizers[place];
	}
	if (!making->basis)
		return error_set(making->err, -ENOENT,
				 "%s:%u: model %s has no tokenizer",
				 making->recipe->path, wanted->line,
				 wanted->model.path);
	vocabulary->basis_file = making->basis->file;
	return 0;
}

static const struct tokenizer *tokenizer_of(const struct making *making,
					    size_t model)
{
	return making->tokenizers[model] ? making->tokenizers[model]
					 : making->basis;
}

/* The output's tokens. */

static int put(struct making *making, const char *text, uint32_t length,
	       uint32_t id, uint32_t flags, struct token **ret)
{
	int r = id < TOKEN_ID_END ? tokenizer_put(making->vocabulary->tokens,
						  text, length, id, flags, ret)
				  : -E2BIG;

	return r < 0 ? error_set(making->err, r, "the output's vocabulary: %s",
				 r == -E2BIG ? "too many tokens" : strerror(-r))
		     : r;
}

static int put_basis(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct tokenizer *basis = making->basis;
	uint32_t limit = UINT32_MAX;
	struct token *ignored;

	if (vocabulary->from_base)
		limit = making->models[vocabulary->base].n_rows;
	vocabulary->strip_from = UINT32_MAX;
	for (uint32_t i = 0; i < basis->n_tokens; i++) {
		const struct token *token = &basis->tokens[i];
		uint32_t flags = token->flags;
		if (token->id >= limit) {
			vocabulary->strip_from = limit;
			vocabulary->n_stripped++;
			continue;
		}
		if (flags & TOKEN_ADDED)
			flags |= DEFINED;
		int r = put(making, token_text(basis, token), token->length,
			    token->id, flags, &ignored);
		if (r < 0)
			return r;
		vocabulary->basis_end = token->id + 1;
	}
	vocabulary->n_tokens = vocabulary->basis_end;
	if (vocabulary->n_stripped == 0)
		return 0;
	return note(making,
		    notes_add(making->notes,
			      "%u tokens of the base's tokenizer have no row "
			      "in its embedding and are left out",
			      vocabulary->n_stripped));
}

static int put_new(struct making *making, const char *text, uint32_t length,
		   uint32_t flags, struct token **ret)
{
	struct vocabulary *vocabulary = making->vocabulary;
	int r = put(making, text, length, vocabulary->n_tokens, flags, ret);

	if (r > 0) {
		vocabulary->n_tokens++;
		vocabulary->n_new++;
	}
	return r;
}

/* Plain tokens become added ones without any flag of their own: the merges of
 * different models cannot be joined. */
static int unite_plain(struct making *making, size_t model)
{
	const struct tokenizer *tokenizer = tokenizer_of(making, model);
	uint32_t n_new = 0;
	struct token *ignored;

	for (uint32_t i = 0; i < tokenizer->n_tokens; i++) {
		const struct token *token = &tokenizer->tokens[i];
		if (token->id >= making->models[model].n_rows ||
		    (token->flags & TOKEN_ADDED))
			continue;
		int r = put_new(making, token_text(tokenizer, token),
				token->length, TOKEN_ADDED | TOKEN_NORMALIZED,
				&ignored);
		if (r < 0)
			return r;
		n_new += (uint32_t)r;
	}
	if (n_new == 0)
		return 0;
	bool same = digest_equal(tokenizer->cut, making->basis->cut);
	return note(making,
		    notes_add(making->notes,
			      "%u tokens of %s are not in the base's "
			      "vocabulary%s; they become literal added "
			      "tokens, without the merges that made them",
			      n_new, label(making, model),
			      same ? ""
				   : ", and its normalizer or pre_tokenizer "
				     "is another"));
}

/* The first definition of an added token is the one that counts. */
static int define(struct making *making, size_t model,
		  const struct tokenizer *tokenizer, const struct token *token)
{
	const char *text = token_text(tokenizer, token);
	uint32_t flags = token->flags & FLAGS;
	struct token *ours;

	int r = put_new(making, text, token->length, flags | DEFINED, &ours);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!(ours->flags & DEFINED)) {
		making->vocabulary->n_defined +=
			ours->id < making->vocabulary->basis_end;
		ours->flags = (ours->flags & TOKEN_MODEL) | flags | DEFINED;
		return 0;
	}
	if ((ours->flags & FLAGS) == flags)
		return 0;
	return note(making,
		    notes_add(making->notes,
			      "token '%.*s': its flags in %s differ from those "
			      "found first, which are kept",
			      shown(token->length), text,
			      label(making, model)));
}

static int unite_added(struct making *making, size_t model)
{
	const struct tokenizer *tokenizer = tokenizer_of(making, model);

	for (uint32_t i = 0; i < tokenizer->n_tokens; i++) {
		const struct token *token = &tokenizer->tokens[i];
		if (token->id >= making->models[model].n_rows ||
		    !(token->flags & TOKEN_ADDED))
			continue;
		int r = define(making, model, tokenizer, token);
		if (r < 0)
			return r;
	}
	return 0;
}

static int put_keys(struct making *making)
{
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;
	struct token *ignored;

	for (size_t i = 0; i < wanted->n_tokens; i++) {
		const struct recipe_token *token = &wanted->tokens[i];
		int r = put_new(making, token->text,
				(uint32_t)strlen(token->text),
				TOKEN_ADDED | TOKEN_NORMALIZED, &ignored);
		if (r > 0 && token->origin == TOKEN_FROM_ANY)
			r = note(making,
				 notes_add(making->notes,
					   "token '%s' is new and has no "
					   "source: its rows are zero",
					   token->text));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Tokens of the basis that were plain and are added ones now. */
static int list_defined(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct tokenizer *tokens = vocabulary->tokens;
	uint32_t n = 0;

	vocabulary->defined =
		calloc(vocabulary->n_defined + 1, sizeof(*vocabulary->defined));
	if (!vocabulary->defined)
		return no_memory(making);
	for (uint32_t i = 0; i < tokens->n_tokens; i++) {
		const struct token *token = &tokens->tokens[i];
		if (n == vocabulary->n_defined ||
		    token->id >= vocabulary->basis_end)
			break;
		if (!(token->flags & TOKEN_ADDED))
			continue;
		const struct token *old =
			tokenizer_at(making->basis, token->id);
		if (!(old->flags & TOKEN_ADDED))
			vocabulary->defined[n++] = token->id;
	}
	return 0;
}

static int put_all(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;
	size_t n = wanted->source == TOKENIZER_UNION ? making->n_models : 0;
	int r = put_basis(making);

	for (size_t i = 0; r == 0 && i < n; i++)
		r = unite_plain(making, i);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = unite_added(making, i);
	if (r == 0)
		r = put_keys(making);
	if (r == 0)
		r = tokenizer_seal(vocabulary->tokens,
				   "the output's vocabulary", making->err);
	if (r < 0)
		return r;
	uint64_t n_rows = round_up(vocabulary->n_tokens, wanted->multiple);
	if (n_rows > INT32_MAX)
		return error_set(
			making->err, -EINVAL,
			"%s:%u: pad_to_multiple_of makes too many rows",
			making->recipe->path, wanted->line);
	vocabulary->n_rows = (uint32_t)n_rows;
	return list_defined(making);
}

/* Rows. */

static int32_t find_row(const struct tokenizer *tokenizer,
			const struct tokenizer *tokens,
			const struct token *token, uint32_t n_rows)
{
	const char *text = token_text(tokens, token);
	const struct token *theirs = tokenizer_at(tokenizer, token->id);

	if (!theirs || theirs->length != token->length ||
	    memcmp(token_text(tokenizer, theirs), text, token->length) != 0)
		theirs = tokenizer_find(tokenizer, text, token->length);
	return theirs && theirs->id < n_rows ? (int32_t)theirs->id : -1;
}

static int find_rows(struct making *making, size_t model)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct tokenizer *tokens = vocabulary->tokens;
	uint32_t n_rows = making->models[model].n_rows;
	bool holes = (int)model == vocabulary->basis_model;
	int32_t *own = malloc(vocabulary->n_tokens * sizeof(*own));
	if (!own)
		return no_memory(making);

	/* An id of no token keeps the row that its model has there. */
	for (uint32_t i = 0; i < vocabulary->n_tokens; i++)
		own[i] = holes && i < vocabulary->basis_end && i < n_rows
				 ? (int32_t)i
				 : -1;
	for (uint32_t i = 0; i < tokens->n_tokens; i++)
		own[tokens->tokens[i].id] =
			find_row(tokenizer_of(making, model), tokens,
				 &tokens->tokens[i], n_rows);
	vocabulary->own[model] = own;
	return 0;
}

/* Tokens of the model that are nearest to a text, for a sentence. */
static char *suggest(const struct tokenizer *tokenizer, const char *text)
{
	size_t length = strlen(text), n = 0;
	AUTO_FREE char *texts =
		malloc(tokenizer->texts_size + tokenizer->n_tokens + 1);
	AUTO_FREE const char **words =
		calloc(tokenizer->n_tokens + 1, sizeof(*words));
	if (!texts || !words)
		return NULL;

	char *at = texts;
	for (uint32_t i = 0; i < tokenizer->n_tokens; i++) {
		const struct token *token = &tokenizer->tokens[i];
		if (token->length + 3 < length || token->length > length + 3)
			continue;
		words[n++] = at;
		memcpy(at, token_text(tokenizer, token), token->length);
		at += token->length;
		*at++ = '\0';
	}
	const char *near = text_nearest(text, words);
	char *clause = NULL;
	if (!near || asprintf(&clause, "; did you mean '%s'?", near) < 0)
		return NULL;
	return clause;
}

static int rule_fails(struct making *making, const struct recipe_token *token,
		      const char *what)
{
	return error_set(making->err, -EINVAL, "%s:%u: token '%.*s': %s",
			 making->recipe->path, token->line, SHOWN, token->text,
			 what);
}

/* The row of a token that a model must have. */
static int row_of(struct making *making, const struct recipe_token *token,
		  size_t model, const char *text, uint32_t *ret)
{
	const struct tokenizer *tokenizer = tokenizer_of(making, model);
	const struct token *found =
		tokenizer_find(tokenizer, text, strlen(text));
	char what[512];

	if (!found) {
		AUTO_FREE char *near = suggest(tokenizer, text);
		snprintf(what, sizeof(what), "model %s has no token '%.*s'%s",
			 label(making, model), SHOWN, text, near ? near : "");
		return rule_fails(making, token, what);
	}
	*ret = found->id;
	return 0;
}

static int resolve_row(struct making *making, const struct recipe_token *token,
		       struct vocabulary_rule *rule)
{
	int model = find_model(making, &token->model);
	char what[512];

	if (model < 0) {
		snprintf(what, sizeof(what),
			 "its source %s is not a model of this merge",
			 token->model.path);
		return rule_fails(making, token, what);
	}
	rule->kind = RULE_ROW;
	rule->model = (uint32_t)model;
	rule->row = token->id;
	int r = 0;
	if (token->origin != TOKEN_FROM_ID)
		r = row_of(making, token, (size_t)model,
			   token->origin == TOKEN_FROM_TOKEN ? token->token
							     : token->text,
			   &rule->row);
	uint32_t n_rows = making->models[model].n_rows;
	if (r == 0 && rule->row >= n_rows) {
		snprintf(what, sizeof(what),
			 "id %u has no row in model %s, whose embedding has "
			 "%u rows",
			 rule->row, label(making, (size_t)model), n_rows);
		return rule_fails(making, token, what);
	}
	return r;
}

static int compare_rules(const void *a, const void *b)
{
	const struct vocabulary_rule *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int find_rules(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;

	vocabulary->rules =
		calloc(wanted->n_tokens + 1, sizeof(*vocabulary->rules));
	if (!vocabulary->rules)
		return no_memory(making);
	for (size_t i = 0; i < wanted->n_tokens; i++) {
		const struct recipe_token *token = &wanted->tokens[i];
		struct vocabulary_rule *rule =
			&vocabulary->rules[vocabulary->n_rules++];
		rule->id = tokenizer_find(vocabulary->tokens, token->text,
					  strlen(token->text))
				   ->id;
		rule->force = token->force;
		rule->kind =
			token->origin == TOKEN_FROM_ZERO ? RULE_ZERO : RULE_ANY;
		if (!token->model.path)
			continue;
		int r = resolve_row(making, token, rule);
		if (r < 0)
			return r;
	}
	qsort(vocabulary->rules, vocabulary->n_rules,
	      sizeof(*vocabulary->rules), compare_rules);
	return 0;
}

static int make(struct making *making)
{
	int r = read_models(making);
	if (r == 0)
		r = find_basis(making);
	if (r == 0)
		r = put_all(making);
	for (size_t i = 0; r == 0 && i < making->n_models; i++)
		r = find_rows(making, i);
	return r < 0 ? r : find_rules(making);
}

int vocabulary_new(const struct recipe *recipe, const char *directory,
		   const struct vocabulary_model *models, size_t n_models,
		   size_t base, struct vocabulary **ret, struct notes *notes,
		   struct error *err)
{
	AUTO(vocabulary) vocabulary = calloc(1, sizeof(*vocabulary));
	AUTO_FREE struct tokenizer **tokenizers =
		calloc(n_models + 1, sizeof(struct tokenizer *));
	struct making making = {
		.vocabulary = vocabulary,
		.recipe = recipe,
		.directory = directory,
		.models = models,
		.n_models = n_models,
		.tokenizers = tokenizers,
		.notes = notes,
		.err = err,
	};
	if (!vocabulary || !tokenizers)
		return no_memory(&making);
	vocabulary->n_models = n_models;
	vocabulary->base = base;
	vocabulary->from_base = recipe->tokenizer.source != TOKENIZER_OF_MODEL;
	vocabulary->tokens = calloc(1, sizeof(*vocabulary->tokens));
	vocabulary->own = calloc(n_models, sizeof(int32_t *));
	vocabulary->model_rows = calloc(n_models, sizeof(uint32_t));
	vocabulary->models = calloc(n_models, sizeof(char *));
	if (!vocabulary->tokens || !vocabulary->own ||
	    !vocabulary->model_rows || !vocabulary->models)
		return no_memory(&making);
	for (size_t i = 0; i < n_models; i++) {
		vocabulary->model_rows[i] = models[i].n_rows;
		vocabulary->models[i] = models[i].source->label;
	}

	int r = make(&making);
	for (size_t i = 0; i <= n_models; i++)
		tokenizer_free(tokenizers[i]);
	if (r < 0)
		return r;
	*ret = TAKE(vocabulary);
	return 0;
}

void vocabulary_free(struct vocabulary *vocabulary)
{
	if (!vocabulary)
		return;
	for (size_t i = 0; vocabulary->own && i < vocabulary->n_models; i++)
		free(vocabulary->own[i]);
	free(vocabulary->own);
	free(vocabulary->model_rows);
	free(vocabulary->models);
	free(vocabulary->rules);
	free(vocabulary->defined);
	tokenizer_free(vocabulary->tokens);
	source_close(vocabulary->outside);
	free(vocabulary);
}

const struct vocabulary_rule *
vocabulary_rule(const struct vocabulary *vocabulary, uint32_t id)
{
	struct vocabulary_rule key = {.id = id};

	return bsearch(&key, vocabulary->rules, vocabulary->n_rules,
		       sizeof(key), compare_rules);
}
