/*
 * The vocabulary of a merge: its tokens, and for every model which row of its
 * embeddings each of them has.
 *
 * Words. The *basis* is the tokenizer that the output's is made from: the
 * base's, stripped of tokens that it has no row for, or a model's as it is. To
 * it come, with a union, the plain tokens that other models have more, in the
 * order of models and then of ids, then their added tokens in the same order;
 * then, always, the keys of the recipe's tokens:. New ids follow the largest.
 *
 * Immutable once made; every function may be called from any thread.
 */
#ifndef MERGE_TOKENIZER_VOCABULARY_H
#define MERGE_TOKENIZER_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merge/tokenizer/tokenizer.h"
#include "util/error.h"
#include "util/hash.h"
#include "util/macros.h"

struct disk_cache;
struct model_ref;
struct recipe;
struct source;

/* A model that takes part. */
struct vocabulary_model {
	const struct model_ref *ref; /* borrowed, as is source */
	const struct source *source;
	uint32_t n_rows; /* of its embedding: what has no row is no token */
};

enum rule_kind {
	RULE_ROW, /* of one model */
	RULE_ZERO,
	RULE_ANY, /* what the others have, by the general rule */
};

/* What the recipe's tokens: says of one token's row. */
struct vocabulary_rule {
	uint32_t id; /* of the output */
	enum rule_kind kind;
	uint32_t model, row; /* of RULE_ROW */
	bool force;	     /* for models that have the token, too */
};

struct vocabulary {
	uint32_t n_tokens; /* largest id + 1 */
	uint32_t n_rows;   /* the same, rounded up to the recipe's multiple */
	size_t n_models;
	size_t base;	      /* the donor among the models */
	const char **models;  /* (n_models,) their names; the array is owned */
	uint32_t *model_rows; /* (n_models,) of their embeddings; owned */
	int32_t **own; /* (n_models,) of (n_tokens,): row, or -1; owned */
	struct vocabulary_rule *rules; /* (n_rules,) by id; owned */
	size_t n_rules;

	struct tokenizer *tokens;   /* of the output; owned */
	uint32_t basis_end;	    /* largest id + 1 of the basis */
	const struct source *basis; /* whose files are edited; borrowed, or
				       owned when it takes no part */
	struct source *outside;	    /* owned */
	int basis_model;	    /* place among the models, or -1 */
	char basis_file[24];	    /* "tokenizer.json", "vocab.json" ... */
	bool from_base;		    /* else as the recipe's model has it */
	uint32_t n_stripped;	    /* tokens of the basis that are left out */
	uint32_t strip_from;	    /* from this id on; else UINT32_MAX */
	uint32_t n_new;		    /* tokens behind those of the basis */
	uint32_t n_defined;	    /* of the basis, now added tokens as well */
	uint32_t *defined;	    /* (n_defined,) their ids; owned */

	/* Where it was looked for, borrowed, or NULL; then digest is of all
	 * that it depends on. */
	struct disk_cache *disk;
	struct digest digest;
};

/* What it is made of. */
struct vocabulary_options {
	const struct recipe *recipe; /* its tokenizer must ask for one */
	const char *directory; /* of the recipe, or NULL: the working one; for a
				  source that takes no part */
	const struct vocabulary_model *models; /* (n_models,) */
	size_t n_models;
	/* The tokenizer's source, if it is a stage that takes no part, or NULL;
	 * outlives the vocabulary. */
	const struct source *stage;
	size_t base;		 /* the donor among them */
	struct disk_cache *disk; /* to keep it in, or NULL; outlives it */
};

/*
 * Errors name line, token, model; -ENOENT with a sentence if the basis has no
 * tokenizer. One that was kept on disk is taken from there, and its notes, if
 * recipe and files are the same; no tokenizer is read then.
 */
int vocabulary_new(const struct vocabulary_options *options,
		   struct vocabulary **ret, struct notes *notes,
		   struct error *err);
void vocabulary_free(struct vocabulary *vocabulary);
DEFINE_AUTO(vocabulary, vocabulary_free);

/* The rule for an output token, or NULL. */
const struct vocabulary_rule *
vocabulary_rule(const struct vocabulary *vocabulary, uint32_t id);

#endif
