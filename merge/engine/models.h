/*
 * The models of a recipe, opened, each tensor an expression known by the
 * donor's spelling of its name and by its place in the architecture.
 */
#ifndef MERGE_ENGINE_MODELS_H
#define MERGE_ENGINE_MODELS_H

#include <stdbool.h>
#include <stddef.h>

#include "merge/arch/arch.h"
#include "util/error.h"

struct adapted;
struct dtype;
struct model_ref;
struct node;
struct plan_options;
struct recipe;
struct shelf;
struct source;
struct stage;
struct stages;

struct named_tensor {
	char *name;	    /* as the donor spells it; owned */
	const char *stored; /* as the model itself spells it; borrowed */
	struct arch_place place;
	struct node *node; /* its values; borrowed from the shelf */
};

struct model {
	const struct model_ref *ref; /* borrowed from the recipe */
	const struct source *source; /* borrowed from the shelf or the stage */
	const struct stage *stage;   /* that the model is, or NULL; borrowed */
	const struct adapted *adapted; /* or its base, if it has an adapter */
	struct named_tensor *names;    /* (n_names,) sorted by name */
	size_t n_names;
};

struct models {
	struct model *items; /* (n,) document order, the base first */
	size_t n;
	size_t donor;	   /* the base, else the first */
	struct arch *arch; /* of the donor; owned */
};

/*
 * Opens every model that the recipe names, once each. Errors: not found, not
 * readable, quantised, of another architecture than the donor (unless
 * allow_crimes), a feature that is not built yet. Nodes are added to the
 * shelf's, remarks to notes. A model of a stage's name is that stage, which is
 * planned already.
 */
int models_open(const struct recipe *recipe, const struct stages *stages,
		const struct plan_options *options, struct shelf *shelf,
		struct notes *notes, struct models *ret, struct error *err);
void models_done(struct models *models);

/* The model of a reference that the recipe holds. */
size_t models_find(const struct models *models, const struct model_ref *ref);

/* By the donor's spelling; NULL if the model does not have it. */
struct node *model_node(const struct model *model, const char *name);

/*
 * What stands in for an embedding or a head that a model ties and so does not
 * store: its other embedding. NULL if there is none, or if its config.json
 * says that nothing is tied.
 */
struct node *model_tied(const struct model *model, const char *name);

/* tie_word_embeddings of config.json: -1 when it says nothing, 0, 1. */
int model_ties(const struct model *model);

#endif
