/* Which rows the tokens of the output have. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/recipe/recipe.h"
#include "merge/tokenizer/vocabulary_private.h"
#include "util/text.h"

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
		return vocabulary_no_memory(making);

	/* An id of no token keeps the row that its model has there. */
	for (uint32_t i = 0; i < vocabulary->n_tokens; i++)
		own[i] = holes && i < vocabulary->basis_end && i < n_rows
				 ? (int32_t)i
				 : -1;
	for (uint32_t i = 0; i < tokens->n_tokens; i++)
		own[tokens->tokens[i].id] =
			find_row(vocabulary_tokenizer(making, model), tokens,
				 &tokens->tokens[i], n_rows);
	vocabulary->own[model] = own;
	return 0;
}

int vocabulary_find_rows(struct making *making)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < making->n_models; i++)
		r = find_rows(making, i);
	return r;
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
	const struct tokenizer *tokenizer = vocabulary_tokenizer(making, model);
	const struct token *found =
		tokenizer_find(tokenizer, text, strlen(text));
	char what[512];

	if (!found) {
		AUTO_FREE char *near = suggest(tokenizer, text);
		snprintf(what, sizeof(what), "model %s has no token '%.*s'%s",
			 making->models[model].ref->path, SHOWN, text,
			 near ? near : "");
		return rule_fails(making, token, what);
	}
	*ret = found->id;
	return 0;
}

static int resolve_row(struct making *making, const struct recipe_token *token,
		       struct vocabulary_rule *rule)
{
	int model = vocabulary_find_model(making, &token->model);
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
			 rule->row, making->models[model].ref->path, n_rows);
		return rule_fails(making, token, what);
	}
	return r;
}

static int compare_rules(const void *a, const void *b)
{
	const struct vocabulary_rule *x = a, *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

int vocabulary_find_rules(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	const struct recipe_tokenizer *wanted = &making->recipe->tokenizer;

	vocabulary->rules =
		calloc(wanted->n_tokens + 1, sizeof(*vocabulary->rules));
	if (!vocabulary->rules)
		return vocabulary_no_memory(making);
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

const struct vocabulary_rule *
vocabulary_rule(const struct vocabulary *vocabulary, uint32_t id)
{
	struct vocabulary_rule key = {.id = id};

	return bsearch(&key, vocabulary->rules, vocabulary->n_rules,
		       sizeof(key), compare_rules);
}
