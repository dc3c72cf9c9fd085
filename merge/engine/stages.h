/*
 * The documents of a recipe file as a graph: each named one is a *stage*, and a
 * model reference by that name means what the stage makes, a model that is
 * nowhere on disk. One document is the result: the one without a name, else
 * the last.
 *
 * To those who plan, a stage is a source like any other: tensors with names,
 * types and shapes, and a config.json. Its tensors' values are expressions,
 * rounded to the types that the stage would be saved with (unless fused).
 *
 * Only model references name stages. Immutable after stages_new().
 */
#ifndef MERGE_ENGINE_STAGES_H
#define MERGE_ENGINE_STAGES_H

#include <stddef.h>

#include "util/error.h"
#include "util/macros.h"

struct model_ref;
struct node;
struct plan;
struct plan_options;
struct recipe_file;
struct shelf;
struct source;
struct stage;
struct stages;

/*
 * Plans the result and every stage that it stands on, each once; *ret_plan is
 * the result's and is the caller's. Errors: stages that need each other; all
 * that a plan may fail for. Remarks are added to the result's: stages that
 * nobody uses, a stage whose name is a directory's, too. recipe_file and shelf
 * must outlive the stages.
 */
int stages_new(const struct recipe_file *recipe_file, struct shelf *shelf,
	       const struct plan_options *options, struct stages **ret,
	       struct plan **ret_plan, struct error *err);
void stages_free(struct stages *stages);
DEFINE_AUTO(stages, stages_free);

/* The stage that a reference names, adapters aside, or NULL. */
const struct stage *stages_find(const struct stages *stages,
				const struct model_ref *ref);

/* For a model that was not found: says in the sentence what stages there are.
 */
void stages_suggest(const struct stages *stages, const struct model_ref *ref,
		    struct error *err);

/* The stages that the result stands on, in an order of planning: the i-th, or
 * NULL if there are no more. */
const struct stage *stages_at(const struct stages *stages, size_t i);

const char *stage_name(const struct stage *stage);
const struct plan *stage_plan(const struct stage *stage);

/* As a source: tensors without a file; its donor has the companion files. */
const struct source *stage_source(const struct stage *stage);

/* What the i-th tensor of that source is. Borrowed from the shelf. */
struct node *stage_node(const struct stage *stage, size_t i);

#endif
