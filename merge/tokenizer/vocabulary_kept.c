/* A vocabulary as bytes on disk, of this machine only. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cache/value.h"
#include "merge/recipe/recipe.h"
#include "merge/source/file.h"
#include "merge/source/source.h"
#include "merge/tokenizer/vocabulary_private.h"
#include "util/text.h"

/* Another one whenever the rules of vocabularies, or the fields below, change.
 */
#define VOCABULARY_VERSION "mkfs-mount vocabulary 1"

/* All that tokenizers are read from, and what is edited of them. */
static int hash_files(struct hasher *hasher, const struct source *source,
		      struct error *err)
{
	static const char *const names[] = {
		"tokenizer.json",    "vocab.json",	"merges.txt",
		"vocab.txt",	     "tokenizer.model", "tokenizer_config.json",
		"added_tokens.json",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		AUTO(file) file = NULL;
		int r = source_find_file(source, names[i], &file, err);
		if (r < 0 && r != -ENOENT)
			return r;
		hasher_u64(hasher, file != NULL);
		if (file)
			hasher_digest(hasher, file->identity);
	}
	return 0;
}

static void hash_ref(struct hasher *hasher, const struct model_ref *ref)
{
	hasher_string(hasher, ref->path);
	hasher_string(hasher, ref->revision);
	hasher_string(hasher, ref->lora);
	hasher_string(hasher, ref->lora_revision);
	hasher_string(hasher, ref->architecture);
}

static void hash_recipe(struct hasher *hasher,
			const struct recipe_tokenizer *wanted)
{
	hasher_u64(hasher, wanted->source);
	hash_ref(hasher, &wanted->model);
	hasher_u64(hasher, wanted->multiple);
	hasher_u64(hasher, wanted->n_tokens);
	for (size_t i = 0; i < wanted->n_tokens; i++) {
		const struct recipe_token *token = &wanted->tokens[i];
		hasher_string(hasher, token->text);
		hasher_u64(hasher, token->origin);
		hash_ref(hasher, &token->model);
		hasher_string(hasher, token->token);
		hasher_u64(hasher, token->id);
		hasher_u64(hasher, token->force);
	}
}

int vocabulary_digest(struct making *making, struct digest *ret)
{
	const struct vocabulary *vocabulary = making->vocabulary;
	struct hasher *hasher = hasher_new(VOCABULARY_VERSION);
	int r = 0;
	if (!hasher)
		return vocabulary_no_memory(making);

	hash_recipe(hasher, &making->recipe->tokenizer);
	hasher_u64(hasher, vocabulary->base);
	hasher_u64(hasher, making->n_models);
	for (size_t i = 0; r == 0 && i < making->n_models; i++) {
		const struct vocabulary_model *model = &making->models[i];
		hash_ref(hasher, model->ref);
		hasher_u64(hasher, model->n_rows);
		r = hash_files(hasher, model->source, making->err);
	}
	if (r == 0 && vocabulary->basis_model < 0)
		r = hash_files(hasher, vocabulary->basis, making->err);
	*ret = hasher_finish(hasher);
	hasher_free(hasher);
	return r;
}

/* Writing and reading go through the same list of fields. */
struct passing {
	struct text *out; /* NULL: reading */
	const char *at, *end;
	int r; /* -ENOENT: not what was written; -ENOMEM */
};

static void pass(struct passing *passing, void *data, size_t size)
{
	if (passing->out) {
		text_append(passing->out, data, size);
	} else if (passing->r == 0 &&
		   (size_t)(passing->end - passing->at) >= size) {
		memcpy(data, passing->at, size);
		passing->at += size;
	} else if (passing->r == 0) {
		passing->r = -ENOENT;
	}
}

#define PASS(passing, field) pass((passing), &(field), sizeof(field))

/* An array, malloc'ed when it is read. */
static void pass_array(struct passing *passing, void **items, size_t n,
		       size_t size)
{
	size_t most = (size_t)(passing->end - passing->at);

	if (!passing->out && passing->r == 0) {
		passing->r = n > most / size ? -ENOENT : 0;
		*items = passing->r == 0 ? calloc(n + 1, size) : NULL;
		if (passing->r == 0 && !*items)
			passing->r = -ENOMEM;
	}
	if (passing->r == 0)
		pass(passing, *items, n * size);
}

#define PASS_ARRAY(passing, items, n)                                  \
	do {                                                           \
		void *array_ = (items);                                \
		pass_array((passing), &array_, (n), sizeof(*(items))); \
		(items) = array_;                                      \
	} while (0)

static void pass_tokens(struct passing *passing, struct tokenizer *tokens)
{
	PASS(passing, tokens->n_tokens);
	PASS(passing, tokens->end);
	PASS(passing, tokens->texts_size);
	PASS(passing, tokens->table_size);
	PASS_ARRAY(passing, tokens->tokens, tokens->n_tokens);
	PASS_ARRAY(passing, tokens->texts, tokens->texts_size);
	PASS_ARRAY(passing, tokens->table, tokens->table_size);
}

static void pass_notes(struct passing *passing, struct notes *notes)
{
	size_t n = notes->n_lines;

	PASS(passing, n);
	for (size_t i = 0; passing->r == 0 && i < n; i++) {
		char *line = passing->out ? notes->lines[i] : NULL;
		size_t size = line ? strlen(line) + 1 : 0;
		PASS(passing, size);
		PASS_ARRAY(passing, line, size);
		if (passing->out)
			continue;
		if (passing->r == 0)
			passing->r = notes_add(notes, "%s", line);
		free(line);
	}
}

/* All that make() in vocabulary.c finds. */
static void pass_all(struct passing *passing, struct vocabulary *vocabulary,
		     struct notes *notes)
{
	PASS(passing, vocabulary->n_tokens);
	PASS(passing, vocabulary->n_rows);
	PASS(passing, vocabulary->basis_end);
	PASS(passing, vocabulary->basis_file);
	PASS(passing, vocabulary->n_stripped);
	PASS(passing, vocabulary->strip_from);
	PASS(passing, vocabulary->n_new);
	PASS(passing, vocabulary->n_defined);
	PASS(passing, vocabulary->n_rules);
	PASS_ARRAY(passing, vocabulary->defined, vocabulary->n_defined);
	PASS_ARRAY(passing, vocabulary->rules, vocabulary->n_rules);
	for (size_t i = 0; i < vocabulary->n_models; i++)
		PASS_ARRAY(passing, vocabulary->own[i], vocabulary->n_tokens);
	pass_tokens(passing, vocabulary->tokens);
	pass_notes(passing, notes);
}

/* As it was before anything was read. */
static void empty(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;

	for (size_t i = 0; i < vocabulary->n_models; i++) {
		free(vocabulary->own[i]);
		vocabulary->own[i] = NULL;
	}
	free(vocabulary->defined);
	free(vocabulary->rules);
	free(vocabulary->tokens->tokens);
	free(vocabulary->tokens->texts);
	free(vocabulary->tokens->table);
	*vocabulary->tokens = (struct tokenizer){0};
	vocabulary->defined = NULL;
	vocabulary->rules = NULL;
	vocabulary->n_rules = 0;
	vocabulary->n_stripped = 0;
	vocabulary->n_new = vocabulary->n_defined = 0;
	notes_done(making->notes);
	*making->notes = (struct notes){0};
}

int vocabulary_load(struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	AUTO_FREE char *data = NULL;
	size_t size = 0;

	int r = value_load(vocabulary->disk, vocabulary->digest, &data, &size);
	if (r < 0)
		return r;
	struct passing passing = {.at = data, .end = data + size};
	pass_all(&passing, vocabulary, making->notes);
	if (passing.r == -ENOENT)
		empty(making);
	return passing.r;
}

void vocabulary_store(const struct making *making)
{
	struct vocabulary *vocabulary = making->vocabulary;
	struct text out = {0};
	struct passing passing = {.out = &out};

	pass_all(&passing, vocabulary, making->notes);
	if (!out.failed)
		value_store(vocabulary->disk, vocabulary->digest, out.data,
			    out.length);
	text_done(&out);
}
