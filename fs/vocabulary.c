#include "fs/vocabulary.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/output/merge.h"
#include "merge/recipe/recipe.h"
#include "merge/source/source.h"
#include "merge/tokenizer/vocabulary.h"
#include "util/json.h"
#include "util/macros.h"
#include "util/range.h"

#define MOST_SHOWN 8 /* of the new tokens */

static const char *source_words(const struct plan *plan)
{
	switch (plan->recipe->tokenizer.source) {
	case TOKENIZER_OF_BASE:
		return "base";
	case TOKENIZER_UNION:
		return "union";
	default:
		return plan->vocabulary->basis->label;
	}
}

/* The token of an id, for people; malloc'ed. "" for a hole. */
static char *token_words(const struct vocabulary *vocabulary, uint32_t id)
{
	const struct token *token = tokenizer_at(vocabulary->tokens, id);

	return token ? strndup(token_text(vocabulary->tokens, token),
			       token->length)
		     : strdup("");
}

/* Where a model's rows come from. */
struct row_counts {
	uint32_t own;	/* the model's */
	uint32_t moved; /* of these, at another id than in the model */
	uint32_t other; /* by the rules for tokens that it lacks */
};

static struct row_counts count_rows(const struct vocabulary *vocabulary,
				    size_t model)
{
	const int32_t *own = vocabulary->own[model];
	struct row_counts counts = {0};

	for (uint32_t i = 0; i < vocabulary->n_tokens; i++) {
		counts.own += own[i] >= 0;
		counts.moved += own[i] >= 0 && (uint32_t)own[i] != i;
		counts.other += own[i] < 0;
	}
	return counts;
}

static void print_new(const struct vocabulary *vocabulary, FILE *out)
{
	if (vocabulary->n_new == 0)
		return;

	uint32_t n = (uint32_t)min_u64(vocabulary->n_new, MOST_SHOWN);
	fprintf(out, "  %" PRIu32 " new:", vocabulary->n_new);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t id = vocabulary->basis_end + i;
		AUTO_FREE char *text = token_words(vocabulary, id);
		/* What a terminal would take for a command is not shown. */
		for (char *p = text; p && *p; p++)
			*p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
		fprintf(out, " %s (%" PRIu32 ")", text ? text : "", id);
	}
	fprintf(out, "%s\n", n < vocabulary->n_new ? " ..." : "");
}

static void print_tokenizer(const struct plan *plan, FILE *out)
{
	const struct vocabulary *vocabulary = plan->vocabulary;

	fprintf(out, "\nTokenizer: %s, from %s of %s\n", source_words(plan),
		vocabulary->basis_file, vocabulary->basis->label);
	fprintf(out, "  %" PRIu32 " ids, %" PRIu32 " rows",
		vocabulary->n_tokens, vocabulary->n_rows);
	if (vocabulary->n_stripped > 0)
		fprintf(out, ", %" PRIu32 " tokens without a row left out",
			vocabulary->n_stripped);
	fputs("\n", out);
	print_new(vocabulary, out);
	for (size_t i = 0; i < vocabulary->n_models; i++) {
		struct row_counts counts = count_rows(vocabulary, i);
		fprintf(out,
			"  %s: %" PRIu32 " own rows, %" PRIu32
			" of them at another id; %" PRIu32 " by rule\n",
			vocabulary->models[i], counts.own, counts.moved,
			counts.other);
	}
}

void vocabulary_print(const struct plan *plan, FILE *out)
{
	if (plan->vocabulary)
		print_tokenizer(plan, out);
	if (plan->chat_origin)
		fprintf(out, "\nChat template: %s\n", plan->chat_origin);
}

static bool add_number(cJSON *object, const char *key, uint64_t value)
{
	return cJSON_AddNumberToObject(object, key, (double)value);
}

static bool add_new(cJSON *object, const struct vocabulary *vocabulary)
{
	cJSON *list = cJSON_AddArrayToObject(object, "new");
	bool ok = list;

	for (uint32_t i = 0; ok && i < vocabulary->n_new; i++) {
		uint32_t id = vocabulary->basis_end + i;
		AUTO_FREE char *text = token_words(vocabulary, id);
		cJSON *row = json_append_object(list);
		ok = row && text &&
		     cJSON_AddStringToObject(row, "token", text) &&
		     add_number(row, "id", id);
		if (i + 1 == MOST_SHOWN)
			break;
	}
	return ok;
}

static bool add_rows(cJSON *object, const struct vocabulary *vocabulary)
{
	cJSON *list = cJSON_AddArrayToObject(object, "rows_of");
	bool ok = list;

	for (size_t i = 0; ok && i < vocabulary->n_models; i++) {
		struct row_counts counts = count_rows(vocabulary, i);
		cJSON *row = json_append_object(list);
		ok = row &&
		     cJSON_AddStringToObject(row, "model",
					     vocabulary->models[i]) &&
		     add_number(row, "own", counts.own) &&
		     add_number(row, "moved", counts.moved) &&
		     add_number(row, "by_rule", counts.other);
	}
	return ok;
}

static bool add_tokenizer(cJSON *root, const struct plan *plan)
{
	const struct vocabulary *vocabulary = plan->vocabulary;
	cJSON *object = cJSON_AddObjectToObject(root, "tokenizer");

	return object &&
	       cJSON_AddStringToObject(object, "source", source_words(plan)) &&
	       cJSON_AddStringToObject(object, "model",
				       vocabulary->basis->label) &&
	       cJSON_AddStringToObject(object, "file",
				       vocabulary->basis_file) &&
	       add_number(object, "ids", vocabulary->n_tokens) &&
	       add_number(object, "rows", vocabulary->n_rows) &&
	       add_number(object, "left_out", vocabulary->n_stripped) &&
	       add_number(object, "n_new", vocabulary->n_new) &&
	       add_new(object, vocabulary) && add_rows(object, vocabulary);
}

bool vocabulary_add(cJSON *root, const struct plan *plan)
{
	if (plan->vocabulary && !add_tokenizer(root, plan))
		return false;
	return !plan->chat_origin ||
	       cJSON_AddStringToObject(root, "chat_template",
				       plan->chat_origin);
}

/* What the rule says of a token that a model lacks, in words. */
static char *rule_words(const struct plan *plan, uint32_t id)
{
	const struct vocabulary *vocabulary = plan->vocabulary;
	const struct vocabulary_rule *rule = vocabulary_rule(vocabulary, id);
	char *words = NULL;
	size_t n = 0, last = 0;
	int r;

	for (size_t i = 0; i < vocabulary->n_models; i++) {
		if (vocabulary->own[i][id] < 0)
			continue;
		n++;
		last = i;
	}
	if (rule && rule->kind == RULE_ROW)
		r = asprintf(&words, "row %" PRIu32 " of %s%s", rule->row,
			     vocabulary->models[rule->model],
			     rule->force ? ", for all models" : "");
	else if (rule && rule->kind == RULE_ZERO)
		r = asprintf(&words, "zeros%s",
			     rule->force ? ", for all models" : "");
	else if (n == 0)
		r = asprintf(&words, "zeros, as no model has it");
	else if (n == 1)
		r = asprintf(&words, "row %d of %s, the only one that has it",
			     vocabulary->own[last][id],
			     vocabulary->models[last]);
	else if (plan->recipe->base.path &&
		 vocabulary->own[vocabulary->base][id] >= 0)
		r = asprintf(&words, "row %d of the base",
			     vocabulary->own[vocabulary->base][id]);
	else
		r = asprintf(&words, "the mean of the %zu models that have it",
			     n);
	return r < 0 ? NULL : words;
}

static const struct token *find_token(const struct plan *plan, const char *text,
				      struct error *err)
{
	const struct vocabulary *vocabulary = plan->vocabulary;
	if (!vocabulary) {
		error_set(err, -ENOENT,
			  "%s: the recipe merges no tokenizers, so rows are "
			  "those of the same id",
			  plan->recipe->path);
		return NULL;
	}

	const struct token *token =
		tokenizer_find(vocabulary->tokens, text, strlen(text));
	if (!token)
		error_set(err, -ENOENT,
			  "no token '%.60s' in the output's vocabulary", text);
	return token;
}

static cJSON *token_json(const struct plan *plan, const struct token *token,
			 const char *text, const char *rule)
{
	const struct vocabulary *vocabulary = plan->vocabulary;
	AUTO(cJSON) root = cJSON_CreateObject();
	cJSON *list = NULL;
	bool ok = root && cJSON_AddStringToObject(root, "token", text) &&
		  add_number(root, "id", token->id) &&
		  cJSON_AddBoolToObject(root, "added",
					token->flags & TOKEN_ADDED) &&
		  cJSON_AddBoolToObject(root, "special",
					token->flags & TOKEN_SPECIAL) &&
		  cJSON_AddStringToObject(root, "otherwise", rule) &&
		  (list = cJSON_AddArrayToObject(root, "rows"));

	for (size_t i = 0; ok && i < vocabulary->n_models; i++) {
		int32_t own = vocabulary->own[i][token->id];
		cJSON *row = json_append_object(list);
		ok = row &&
		     cJSON_AddStringToObject(row, "model",
					     vocabulary->models[i]) &&
		     (own < 0 ? cJSON_AddNullToObject(row, "row") != NULL
			      : add_number(row, "row", (uint64_t)own));
	}
	return ok ? TAKE(root) : NULL;
}

static void print_token(const struct plan *plan, const struct token *token,
			const char *text, const char *rule, FILE *out)
{
	const struct vocabulary *vocabulary = plan->vocabulary;
	const struct vocabulary_rule *found =
		vocabulary_rule(vocabulary, token->id);
	bool forced = found && found->force;

	fprintf(out, "%s\n  id %" PRIu32 "%s%s%s\n", text, token->id,
		token->flags & TOKEN_ADDED ? ", an added token" : "",
		token->flags & TOKEN_SPECIAL ? ", special" : "",
		token->id >= vocabulary->basis_end ? ", new" : "");
	for (size_t i = 0; i < vocabulary->n_models; i++) {
		int32_t own = vocabulary->own[i][token->id];
		if (own >= 0 && !forced)
			fprintf(out, "  %s: its row %" PRId32 "\n",
				vocabulary->models[i], own);
		else
			fprintf(out, "  %s: %s\n", vocabulary->models[i], rule);
	}
}

int vocabulary_explain(const struct merge *merge, const char *text, bool json,
		       FILE *out, struct error *err)
{
	const struct plan *plan = merge->parts[0].plan;
	const struct token *token = find_token(plan, text, err);
	if (!token)
		return -ENOENT;

	AUTO_FREE char *rule = rule_words(plan, token->id);
	if (!rule)
		return error_set(err, -ENOMEM, "out of memory");
	if (!json) {
		print_token(plan, token, text, rule, out);
		return 0;
	}
	AUTO(cJSON) root = token_json(plan, token, text, rule);
	AUTO_FREE char *printed = root ? cJSON_Print(root) : NULL;
	if (!printed)
		return error_set(err, -ENOMEM, "out of memory");
	fprintf(out, "%s\n", printed);
	return 0;
}
