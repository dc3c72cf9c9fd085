#include "merge/recipe/tokenizer_form.h"

#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/form.h"
#include "merge/recipe/recipe.h"
#include "merge/recipe/scalar.h"

/* "union", "base", or a model. */
static int check_model(const struct form *form, const struct yaml *node,
		       const char *what)
{
	struct model_ref ref = {0};
	int r = model_ref_read(form, node, what, &ref);
	model_ref_done(&ref);
	return r;
}

static int check_text(const struct form *form, const struct yaml *node,
		      const char *what)
{
	AUTO_FREE char *text = NULL;
	return form_text(form, node, what, &text);
}

static int check_whole(const struct form *form, const struct yaml *node,
		       const char *what, double least)
{
	static const struct method_param whole = {.type = PARAM_INT};
	double value;
	int r = scalar_value(form, node, &whole, what, &value);
	if (r == 0 && value < least)
		r = form_error(form, node->line,
			       "%s is %.0f; it must be at least %.0f", what,
			       value, least);
	return r;
}

/* {kind: model_token, model: ..., token or token_id: ...} */
static int check_model_token(const struct form *form, const struct yaml *map)
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
	int r = form_keys(form, map, "a model_token", keys);
	if (r == 0)
		r = check_model(form, model->value, "model");
	if (r == 0 && token)
		r = check_text(form, token->value, "token");
	if (r == 0 && id)
		r = check_whole(form, id->value, "token_id", 0);
	return r;
}

static int check_token_source(const struct form *form, const struct yaml *node)
{
	static const char *const keys[] = {"kind", NULL};
	const struct yaml_pair *kind =
		node->kind == YAML_MAP ? form_find(node, "kind") : NULL;

	if (!kind)
		return check_model(form, node, "source of a token");
	int r = check_text(form, kind->value, "kind");
	if (r < 0)
		return r;
	if (strcmp(kind->value->text, "model_token") == 0)
		return check_model_token(form, node);
	if (strcmp(kind->value->text, "zero") == 0)
		return form_keys(form, node, "a zero source", keys);
	return form_error(form, kind->line,
			  "no kind '%s'; it can be model_token or zero",
			  kind->value->text);
}

static int check_tokens(const struct form *form, const struct yaml *tokens)
{
	static const char *const keys[] = {"source", "force", NULL};
	static const struct method_param truth = {.type = PARAM_BOOL};

	int r = form_is(form, tokens, YAML_MAP, "tokens");
	for (size_t i = 0; r == 0 && i < tokens->n; i++) {
		const struct yaml *token = tokens->pairs[i].value;
		r = form_is(form, token, YAML_MAP, "a token");
		if (r == 0)
			r = form_keys(form, token, "a token", keys);
		if (r < 0)
			return r;

		const struct yaml_pair *source = form_find(token, "source");
		const struct yaml_pair *force = form_find(token, "force");
		double ignored;
		if (source)
			r = check_token_source(form, source->value);
		if (r == 0 && force)
			r = scalar_value(form, force->value, &truth, "force",
					 &ignored);
	}
	return r;
}

static int check_tokenizer(const struct form *form, const struct yaml *map)
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
	if (source)
		r = check_model(form, source->value, "source of the tokenizer");
	if (r == 0 && tokens)
		r = check_tokens(form, tokens->value);
	if (r == 0 && pad)
		r = check_whole(form, pad->value, "pad_to_multiple_of", 1);
	return r;
}

int tokenizer_form_read(const struct form *form, const struct yaml *document,
			struct recipe *recipe)
{
	const struct yaml_pair *source =
		form_find(document, "tokenizer_source");
	const struct yaml_pair *tokenizer = form_find(document, "tokenizer");
	const struct yaml_pair *chat = form_find(document, "chat_template");

	if (source && tokenizer)
		return form_error(form,
				  source->line > tokenizer->line
					  ? source->line
					  : tokenizer->line,
				  "both tokenizer_source: and tokenizer: are "
				  "given; give one of them");
	int r = 0;
	if (source) {
		recipe->tokenizer_line = source->line;
		r = check_model(form, source->value, "tokenizer_source");
	}
	if (tokenizer) {
		recipe->tokenizer_line = tokenizer->line;
		r = check_tokenizer(form, tokenizer->value);
	}
	if (r == 0 && chat) {
		recipe->chat_template_line = chat->line;
		r = check_text(form, chat->value, "chat_template");
	}
	return r;
}
