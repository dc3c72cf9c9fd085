#include "merge/recipe/tokenizer_form.h"

#include <stdlib.h>
#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"
#include "merge/recipe/recipe.h"
#include "merge/recipe/scalar.h"

void recipe_tokenizer_done(struct recipe_tokenizer *tokenizer)
{
	for (size_t i = 0; i < tokenizer->n_tokens; i++) {
		struct recipe_token *token = &tokenizer->tokens[i];
		free(token->text);
		free(token->token);
		model_ref_done(&token->model);
	}
	free(tokenizer->tokens);
	model_ref_done(&tokenizer->model);
}

static int read_whole(const struct form *form, const struct yaml *node,
		      const char *what, double least, uint32_t *ret)
{
	static const struct method_param whole = {.type = PARAM_INT};
	double value;
	int r = scalar_value(form, node, &whole, what, &value);
	if (r < 0)
		return r;
	if (value < least)
		return form_error(form, node->line,
				  "%s is %.0f; it must be at least %.0f", what,
				  value, least);
	if (value > 1 << 24)
		return form_error(form, node->line,
				  "%s is %.0f, beyond any vocabulary", what,
				  value);
	*ret = (uint32_t)value;
	return 0;
}

/* {kind: model_token, model: ..., token or token_id: ...} */
static int read_model_token(const struct form *form, const struct yaml *map,
			    struct recipe_token *ret)
{
	static const char *const keys[] = {"kind", "model", "token", "token_id",
					   NULL};
	const struct yaml_pair *model = form_find(map, "model");
	const struct yaml_pair *token = form_find(map, "token");
	const struct yaml_pair *id = form_find(map, "token_id");

	if (!model || !token == !id)
		return form_error(form, map->line,
				  "a model_token needs model: and one of "
				  "token: and token_id:");
	ret->origin = token ? TOKEN_FROM_TOKEN : TOKEN_FROM_ID;
	int r = form_keys(form, map, "a model_token", keys);
	if (r == 0)
		r = model_ref_read(form, model->value, "model", &ret->model);
	if (r == 0 && token)
		r = form_text(form, token->value, "token", &ret->token);
	if (r == 0 && id)
		r = read_whole(form, id->value, "token_id", 0, &ret->id);
	return r;
}

static int read_origin(const struct form *form, const struct yaml *node,
		       struct recipe_token *ret)
{
	static const char *const keys[] = {"kind", NULL};
	const struct yaml_pair *pair =
		node->kind == YAML_MAP ? form_find(node, "kind") : NULL;
	AUTO_FREE char *kind = NULL;

	if (!pair) {
		ret->origin = TOKEN_FROM_MODEL;
		return model_ref_read(form, node, "source of a token",
				      &ret->model);
	}
	int r = form_text(form, pair->value, "kind", &kind);
	if (r < 0)
		return r;
	if (strcmp(kind, "model_token") == 0)
		return read_model_token(form, node, ret);
	ret->origin = TOKEN_FROM_ZERO;
	if (strcmp(kind, "zero") == 0)
		return form_keys(form, node, "a zero source", keys);
	return form_error(form, pair->line,
			  "no kind '%s'; it can be model_token or zero", kind);
}

static int read_token(const struct form *form, const struct yaml_pair *pair,
		      struct recipe_token *ret)
{
	static const char *const keys[] = {"source", "force", NULL};
	static const struct method_param truth = {.type = PARAM_BOOL};

	ret->line = pair->line;
	if (*pair->key == '\0')
		return form_error(form, pair->line, "a token has no text");
	ret->text = strdup(pair->key);
	if (!ret->text)
		return form_out_of_memory(form);
	int r = form_is(form, pair->value, YAML_MAP, "a token");
	if (r == 0)
		r = form_keys(form, pair->value, "a token", keys);
	if (r < 0)
		return r;

	const struct yaml_pair *source = form_find(pair->value, "source");
	const struct yaml_pair *force = form_find(pair->value, "force");
	double forced = 0;
	if (source)
		r = read_origin(form, source->value, ret);
	if (r == 0 && force)
		r = scalar_value(form, force->value, &truth, "force", &forced);
	ret->force = forced != 0;
	return r;
}

static int read_tokens(const struct form *form, const struct yaml *tokens,
		       struct recipe_tokenizer *ret)
{
	int r = form_is(form, tokens, YAML_MAP, "tokens");
	if (r < 0)
		return r;
	ret->tokens = calloc(tokens->n + 1, sizeof(*ret->tokens));
	if (!ret->tokens)
		return form_out_of_memory(form);
	for (size_t i = 0; r == 0 && i < tokens->n; i++)
		r = read_token(form, &tokens->pairs[i],
			       &ret->tokens[ret->n_tokens++]);
	return r;
}

/* "union", "base", or a model. */
static int read_source(const struct form *form, const struct yaml *node,
		       const char *what, struct recipe_tokenizer *ret)
{
	int r = model_ref_read(form, node, what, &ret->model);
	if (r < 0)
		return r;
	ret->source = TOKENIZER_OF_MODEL;
	if (node->kind != YAML_SCALAR)
		return 0;
	if (strcmp(node->text, "union") == 0)
		ret->source = TOKENIZER_UNION;
	else if (strcmp(node->text, "base") == 0)
		ret->source = TOKENIZER_OF_BASE;
	return 0;
}

static int read_tokenizer(const struct form *form, const struct yaml *map,
			  struct recipe_tokenizer *ret)
{
	static const char *const keys[] = {"source", "tokens",
					   "pad_to_multiple_of", NULL};
	int r = form_is(form, map, YAML_MAP, "tokenizer");
	if (r == 0)
		r = form_keys(form, map, "tokenizer", keys);
	if (r < 0)
		return r;

	const struct yaml_pair *source = form_find(map, "source");
	const struct yaml_pair *tokens = form_find(map, "tokens");
	const struct yaml_pair *pad = form_find(map, "pad_to_multiple_of");
	ret->source = TOKENIZER_UNION;
	if (source)
		r = read_source(form, source->value, "source of the tokenizer",
				ret);
	if (r == 0 && tokens)
		r = read_tokens(form, tokens->value, ret);
	if (r == 0 && pad)
		r = read_whole(form, pad->value, "pad_to_multiple_of", 1,
			       &ret->multiple);
	return r;
}

int tokenizer_form_read(const struct form *form, const struct yaml *document,
			struct recipe *recipe)
{
	const struct yaml_pair *source =
		form_find(document, "tokenizer_source");
	const struct yaml_pair *tokenizer = form_find(document, "tokenizer");
	const struct yaml_pair *chat = form_find(document, "chat_template");
	struct recipe_tokenizer *ret = &recipe->tokenizer;

	if (source && tokenizer)
		return form_error(form,
				  source->line > tokenizer->line
					  ? source->line
					  : tokenizer->line,
				  "both tokenizer_source: and tokenizer: are "
				  "given; give one of them");
	int r = 0;
	ret->multiple = 1;
	if (source) {
		ret->line = source->line;
		r = read_source(form, source->value, "tokenizer_source", ret);
	}
	if (tokenizer) {
		ret->line = tokenizer->line;
		r = read_tokenizer(form, tokenizer->value, ret);
	}
	if (r == 0 && chat) {
		recipe->chat_template_line = chat->line;
		r = form_text(form, chat->value, "chat_template",
			      &recipe->chat_template);
	}
	return r;
}
