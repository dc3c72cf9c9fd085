/*
 * A model with a LoRA adapter: a source like any other, whose tensors are
 * expressions of the base's and the adapter's.
 *
 * Everything that PEFT would do when it merges the adapter is in the
 * expressions; tensors that the adapter leaves alone are the base's own nodes.
 * Every key of the adapter must have found its place.
 *
 * Immutable after adapted_new().
 */
#ifndef MERGE_ENGINE_ADAPTED_H
#define MERGE_ENGINE_ADAPTED_H

#include <stddef.h>

#include "util/error.h"
#include "util/macros.h"

struct adapted;
struct dtype;
struct factors;
struct node;
struct node_set;
struct source;

struct adapted_terms {
	const struct source *base;    /* borrowed, as all here */
	struct node *const *nodes;    /* (base->n_tensors,) their values */
	const struct source *adapter; /* by source_open_adapter() */
	/* That the base is rounded to first, and results are; NULL: each tensor
	 * keeps its own */
	const struct dtype *dtype;
	struct node_set *set; /* takes the new nodes */
	struct factors *factors;
};

/*
 * Errors name the adapter's file: a rank or a shape that does not fit, naming
 * both; keys that are left over; what cannot be merged.
 */
int adapted_new(const struct adapted_terms *terms, struct adapted **ret,
		struct error *err);
void adapted_free(struct adapted *adapted);
DEFINE_AUTO(adapted, adapted_free);

/* Its tensors have no file, its donor is the base, its overlay the adapter. */
const struct source *adapted_source(const struct adapted *adapted);

/* What the i-th tensor of that source is. */
struct node *adapted_node(const struct adapted *adapted, size_t i);

const struct adapted_terms *adapted_terms(const struct adapted *adapted);
const struct notes *adapted_notes(const struct adapted *adapted);

#endif
