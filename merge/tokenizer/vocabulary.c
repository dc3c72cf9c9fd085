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
#include "merge/tokenizer/vocabulary_private.h"
#include "util/range.h"

/* Beside enum token_flag, of the output's tokens only: a model defines it as an
 * added token, so that its flags are settled. */
#define DEFINED 0x10000u
#define FLAGS                                                            \
	(TOKEN_ADDED | TOKEN_SPECIAL | TOKEN_NORMALIZED | TOKEN_LSTRIP | \
	 TOKEN_RSTRIP | TOKEN_SINGLE_WORD)

int vocabulary_no_memory(struct making *making)
{
	return error_set(making->err, -ENOMEM, "out of memory");
}

static int note(struct making *making, int r)
{
	return r < 0 ? vocabulary_no_memory(making) : 0;
}

static const char *label(const struct making *making, size_t model)
{
	return making->models[model].ref->path;
}

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
				       making->tokenizers, i,
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

static int outside_fails(struct making *making, int r)
{
	return error_prefix(making->err, r, "%s:%u", making->recipe->path,
			    making->recipe->tokenizer.line);
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
	return r < 0 ? outside_fails(making, r) : 0;
}

int vocabulary_find_model(const struct making *making,
			  const struct model_ref *ref)
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
	int place = vocabulary->from_base
			    ? (int)vocabulary->base
			    : vocabulary_find_model(making, &wanted->model);

	vocabulary->basis_model = place;
	if (place >= 0) {
		vocabulary->basis = making->models[place].source;
		return 0;
	}
	vocabulary->basis = making->stage;
	if (vocabulary->basis)
		return 0;
	int r = open_outside(making);
	vocabulary->basis = vocabulary->outside;
	return r;
}

static int read_basis(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;
	size_t place = making->n_models;

	if (vocabulary->basis_model < 0) {
		int r = tokenizer_read(vocabulary->basis, making->tokenizers,
				       making->n_models,
				       &making->tokenizers[place], making->err);
		if (r < 0)
			return outside_fails(making, r);
	} else {
		place = (size_t)vocabulary->basis_model;
	}
	making->basis = making->tokenizers[place];
	if (!making->basis)
		return error_set(making->err, -ENOENT,
				 "%s:%u: model %s has no tokenizer",
				 making->recipe->path, wanted->line,
				 wanted->model.path);
	snprintf(vocabulary->basis_file, sizeof(vocabulary->basis_file), "%s",
		 making->basis->file);
	return 0;
}

const struct tokenizer *vocabulary_tokenizer(const struct making *making,
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
	const struct tokenizer *tokenizer = vocabulary_tokenizer(making, model);
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
	const struct tokenizer *tokenizer = vocabulary_tokenizer(making, model);

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
		return vocabulary_no_memory(making);
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

static int make(struct making *making)
{
	int r = read_models(making);
	if (r == 0)
		r = read_basis(making);
	if (r == 0)
		r = put_all(making);
	if (r == 0)
		r = vocabulary_find_rows(making);
	return r < 0 ? r : vocabulary_find_rules(making);
}

/* From the disk, or else made and kept there. */
static int get(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	int r = find_basis(making);

	if (r == 0 && vocabulary->disk)
		r = vocabulary_digest(making, &vocabulary->digest);
	if (r < 0)
		return r;
	r = vocabulary->disk ? vocabulary_load(making) : -ENOENT;
	if (r != -ENOENT)
		return r < 0 ? vocabulary_no_memory(making) : 0;
	r = make(making);
	if (r == 0 && vocabulary->disk)
		vocabulary_store(making);
	return r;
}

static int join_notes(struct notes *notes, const struct notes *more)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < more->n_lines; i++)
		r = notes_add(notes, "%s", more->lines[i]);
	return r;
}

int vocabulary_new(const struct vocabulary_options *options,
		   struct vocabulary **ret, struct notes *notes,
		   struct error *err)
{
	size_t n_models = options->n_models;
	const struct recipe *recipe = options->recipe;
	struct notes own = {0};
	AUTO(vocabulary) vocabulary = calloc(1, sizeof(*vocabulary));
	AUTO_FREE struct tokenizer **tokenizers =
		calloc(n_models + 1, sizeof(struct tokenizer *));
	struct making making = {
		.vocabulary = vocabulary,
		.recipe = recipe,
		.directory = options->directory,
		.models = options->models,
		.n_models = n_models,
		.stage = options->stage,
		.tokenizers = tokenizers,
		.notes = &own,
		.err = err,
	};
	if (!vocabulary || !tokenizers)
		return vocabulary_no_memory(&making);
	vocabulary->n_models = n_models;
	vocabulary->base = options->base;
	vocabulary->disk = options->disk;
	vocabulary->from_base = recipe->tokenizer.source != TOKENIZER_OF_MODEL;
	vocabulary->tokens = calloc(1, sizeof(*vocabulary->tokens));
	vocabulary->own = calloc(n_models, sizeof(int32_t *));
	vocabulary->model_rows = calloc(n_models, sizeof(uint32_t));
	vocabulary->models = calloc(n_models, sizeof(char *));
	if (!vocabulary->tokens || !vocabulary->own ||
	    !vocabulary->model_rows || !vocabulary->models)
		return vocabulary_no_memory(&making);
	for (size_t i = 0; i < n_models; i++) {
		vocabulary->model_rows[i] = options->models[i].n_rows;
		vocabulary->models[i] = options->models[i].source->label;
	}

	int r = get(&making);
	if (r == 0 && join_notes(notes, &own) < 0)
		r = vocabulary_no_memory(&making);
	notes_done(&own);
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
