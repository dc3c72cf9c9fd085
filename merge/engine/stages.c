#include "merge/engine/stages.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/engine/planner.h"
#include "merge/engine/shelf.h"
#include "merge/engine/stage_source.h"
#include "merge/recipe/recipe.h"
#include "merge/source/locate.h"
#include "merge/source/source.h"
#include "util/text.h"

/* A document, and what its models need of the others. */
struct stage {
	const struct recipe *recipe;
	struct need { /* a document that one of its models names */
		size_t document;
		unsigned line;
	} * needs;		   /* (n_needs,) owned */
	size_t n_needs, n_missing; /* of its needs: not yet in the order */
	unsigned depth;		   /* the most documents on a way down */
	bool ordered, used;
	/* Of those that are planned and not the result: */
	struct plan *plan;     /* owned */
	struct source *source; /* owned */
	struct node **nodes;   /* (source->n_tensors,) owned array */
};

struct stages {
	const struct recipe_file *file;
	struct stage *items;	/* (n,) by document */
	struct stage **by_name; /* (n_named,) sorted; owned array */
	struct stage **order;	/* (n_ordered,) each after its needs; owned */
	size_t n, n_named, n_ordered;
	struct stage *result;
};

const char *stage_name(const struct stage *stage)
{
	return stage->recipe->name;
}

const struct plan *stage_plan(const struct stage *stage)
{
	return stage->plan;
}

const struct source *stage_source(const struct stage *stage)
{
	return stage->source;
}

struct node *stage_node(const struct stage *stage, size_t i)
{
	return stage->nodes[i];
}

const struct stage *stages_at(const struct stages *stages, size_t i)
{
	for (size_t j = 0; j < stages->n_ordered; j++) {
		const struct stage *stage = stages->order[j];
		if (stage->used && stage != stages->result && i-- == 0)
			return stage;
	}
	return NULL;
}

static int compare_names(const void *a, const void *b)
{
	const struct stage *const *x = a, *const *y = b;

	return strcmp((*x)->recipe->name, (*y)->recipe->name);
}

static struct stage *find(const struct stages *stages, const char *name)
{
	struct recipe recipe = {.name = (char *)name};
	struct stage wanted = {.recipe = &recipe};
	const struct stage *key = &wanted;
	struct stage **found = bsearch(&key, stages->by_name, stages->n_named,
				       sizeof(struct stage *), compare_names);

	return found ? *found : NULL;
}

const struct stage *stages_find(const struct stages *stages,
				const struct model_ref *ref)
{
	return find(stages, ref->path);
}

void stages_suggest(const struct stages *stages, const struct model_ref *ref,
		    struct error *err)
{
	AUTO_FREE const char **names =
		calloc(stages->n_named + 1, sizeof(*names));
	if (!names || !stages->n_named || !err)
		return;
	for (size_t i = 0; i < stages->n_named; i++)
		names[i] = stages->by_name[i]->recipe->name;

	struct error why = *err;
	const char *nearest = text_nearest(ref->path, names);
	if (nearest)
		error_set(err, 0, "no stage '%s' (did you mean %s?), and %s",
			  ref->path, nearest, why.text);
	else
		error_set(err, 0, "no stage '%s' in this recipe, and %s",
			  ref->path, why.text);
}

/* The graph. */

struct visit {
	struct stages *stages;
	struct stage *stage;
	struct error *err;
};

static int visit_model(void *arg, const struct model_ref *ref)
{
	const struct visit *visit = arg;
	struct stage *stage = visit->stage;
	const struct stage *needed = find(visit->stages, ref->path);
	if (!needed)
		return 0;
	if (ref->revision)
		return error_set(visit->err, -EINVAL,
				 "%s:%u: %s is a stage of this recipe and has "
				 "no revision '%s'",
				 stage->recipe->path, ref->line, ref->path,
				 ref->revision);

	size_t document = (size_t)(needed - visit->stages->items);
	for (size_t i = 0; i < stage->n_needs; i++) {
		if (stage->needs[i].document == document)
			return 0;
	}
	struct need *needs =
		reallocarray(stage->needs, stage->n_needs + 1, sizeof(*needs));
	if (!needs)
		return error_set(visit->err, -ENOMEM, "out of memory");
	stage->needs = needs;
	needs[stage->n_needs++] = (struct need){document, ref->line};
	stage->n_missing++;
	return 0;
}

/* A stage may give no more than its tokenizer. */
static int visit_tokenizer(struct visit *visit,
			   const struct recipe_tokenizer *tokenizer)
{
	struct model_ref ref = tokenizer->model;

	ref.line = tokenizer->line;
	return visit_model(visit, &ref);
}

static int find_needs(struct stages *stages, struct error *err)
{
	for (size_t i = 0; i < stages->n; i++) {
		struct visit visit = {stages, &stages->items[i], err};
		int r = recipe_each_model(visit.stage->recipe, visit_model,
					  &visit);
		const struct recipe_tokenizer *tokenizer =
			&visit.stage->recipe->tokenizer;
		if (r == 0 && tokenizer->source == TOKENIZER_OF_MODEL)
			r = visit_tokenizer(&visit, tokenizer);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Of a document on a way that never ends, or leads into a circle. */
static const struct need *next_on_circle(const struct stages *stages,
					 const struct stage *stage)
{
	const struct need *need = stage->needs;

	while (stages->items[need->document].ordered)
		need++;
	return need;
}

/* What is not in the order needs something that is not, for ever. */
static int refuse_circle(const struct stages *stages, struct error *err)
{
	const struct stage *first = stages->items;
	while (first->ordered)
		first++;
	for (size_t i = 0; i < stages->n; i++)
		first = &stages->items[next_on_circle(stages, first)->document];

	struct text way = {0};
	const struct stage *at = first;
	unsigned line = next_on_circle(stages, first)->line;
	do {
		text_printf(&way, "%s needs ", at->recipe->name);
		at = &stages->items[next_on_circle(stages, at)->document];
	} while (at != first);
	AUTO_FREE char *names = text_take(&way);
	return error_set(err, -EINVAL,
			 "%s:%u: stages need each other: %s%s; a stage can "
			 "only stand on others that do not need it",
			 stages->file->path, line, names ? names : "",
			 first->recipe->name);
}

static bool has_need(const struct stage *stage, size_t document)
{
	for (size_t i = 0; i < stage->n_needs; i++) {
		if (stage->needs[i].document == document)
			return true;
	}
	return false;
}

static void put_in_order(struct stages *stages, struct stage *stage)
{
	for (size_t i = 0; i < stage->n_needs; i++) {
		const struct stage *need =
			&stages->items[stage->needs[i].document];
		if (stage->depth < need->depth)
			stage->depth = need->depth;
	}
	stage->depth++;
	stage->ordered = true;
	stages->order[stages->n_ordered++] = stage;
}

/* Those without needs, then those that only need them, and so on. */
static int find_order(struct stages *stages, struct error *err)
{
	for (size_t i = 0; i < stages->n; i++) {
		if (stages->items[i].n_missing == 0)
			put_in_order(stages, &stages->items[i]);
	}
	for (size_t done = 0; done < stages->n_ordered; done++) {
		size_t document = (size_t)(stages->order[done] - stages->items);
		for (size_t i = 0; i < stages->n; i++) {
			struct stage *stage = &stages->items[i];
			if (!stage->ordered && has_need(stage, document) &&
			    --stage->n_missing == 0)
				put_in_order(stages, stage);
		}
	}
	return stages->n_ordered < stages->n ? refuse_circle(stages, err) : 0;
}

static void find_used(struct stages *stages)
{
	stages->result->used = true;
	for (size_t i = stages->n_ordered; i-- > 0;) {
		const struct stage *stage = stages->order[i];
		for (size_t j = 0; stage->used && j < stage->n_needs; j++)
			stages->items[stage->needs[j].document].used = true;
	}
}

static int read_documents(struct stages *stages, struct error *err)
{
	const struct recipe_file *file = stages->file;
	size_t n = file->n_documents;

	stages->items = calloc(n, sizeof(*stages->items));
	stages->by_name = calloc(n, sizeof(struct stage *));
	stages->order = calloc(n, sizeof(struct stage *));
	if (!stages->items || !stages->by_name || !stages->order)
		return error_set(err, -ENOMEM, "out of memory");
	stages->n = n;
	stages->result = &stages->items[n - 1];
	for (size_t i = 0; i < n; i++) {
		struct stage *stage = &stages->items[i];
		stage->recipe = file->documents[i];
		if (stage->recipe->name)
			stages->by_name[stages->n_named++] = stage;
		else
			stages->result = stage;
	}
	qsort(stages->by_name, stages->n_named, sizeof(struct stage *),
	      compare_names);

	int r = find_needs(stages, err);
	if (r == 0)
		r = find_order(stages, err);
	if (r == 0)
		find_used(stages);
	return r;
}

/* The plans. */

static int plan_stage(struct stages *stages, struct stage *stage,
		      struct shelf *shelf, const struct plan_options *options,
		      struct plan **ret, struct error *err)
{
	int r = plan_document(stages->file, stage->recipe, stages, shelf,
			      options, ret, err);
	if (r < 0 || stage == stages->result)
		return r;

	r = stage_source_new(stage->recipe->name, *ret, &stage->source, err);
	if (r < 0)
		return error_prefix(err, r, "%s:%u: stage %s",
				    stages->file->path, stage->recipe->line,
				    stage->recipe->name);
	r = stage_nodes_new(*ret, stage->source, options->fuse, &stage->nodes);
	return r < 0 ? error_set(err, r, "out of memory") : 0;
}

static int plan_used(struct stages *stages, struct shelf *shelf,
		     const struct plan_options *options, struct error *err)
{
	for (size_t i = 0; i < stages->n_ordered; i++) {
		struct stage *stage = stages->order[i];
		if (!stage->used)
			continue;
		int r = plan_stage(stages, stage, shelf, options, &stage->plan,
				   err);
		if (r < 0)
			return r;
	}
	/* The result's blocks stand on those of all below it. */
	if (shelf->depth < stages->result->depth - 1)
		shelf->depth = stages->result->depth - 1;
	return 0;
}

static int note_directory(const struct stage *stage, struct notes *notes)
{
	AUTO_FREE char *folder = recipe_folder(stage->recipe);
	AUTO_FREE char *directory = NULL;
	if (locate_model(stage->recipe->name, NULL, folder, &directory, NULL) <
	    0)
		return 0;

	return notes_add(notes,
			 "%s is a stage of this recipe and a directory (%s); "
			 "the stage is used",
			 stage->recipe->name, directory);
}

/* The result's plan tells what its stages' plans have to say. */
static int note_stage(const struct stage *stage, struct notes *notes)
{
	if (!stage->used)
		return notes_add(notes, "stage %s is not used",
				 stage->recipe->name);

	int r = note_directory(stage, notes);
	for (size_t i = 0; r == 0 && i < stage->plan->notes.n_lines; i++)
		r = notes_add(notes, "stage %s: %s", stage->recipe->name,
			      stage->plan->notes.lines[i]);
	return r;
}

static int note_stages(const struct stages *stages, struct notes *notes)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < stages->n; i++) {
		if (&stages->items[i] != stages->result)
			r = note_stage(&stages->items[i], notes);
	}
	return r;
}

int stages_new(const struct recipe_file *recipe_file, struct shelf *shelf,
	       const struct plan_options *options, struct stages **ret,
	       struct plan **ret_plan, struct error *err)
{
	AUTO(stages) stages = calloc(1, sizeof(*stages));
	if (!stages)
		return error_set(err, -ENOMEM, "out of memory");
	stages->file = recipe_file;

	int r = read_documents(stages, err);
	if (r == 0)
		r = plan_used(stages, shelf, options, err);
	if (r < 0)
		return r;
	r = note_stages(stages, &stages->result->plan->notes);
	if (r < 0)
		return error_set(err, r, "out of memory");
	*ret_plan = TAKE(stages->result->plan);
	*ret = TAKE(stages);
	return 0;
}

void stages_free(struct stages *stages)
{
	if (!stages)
		return;
	for (size_t i = 0; i < stages->n; i++) {
		struct stage *stage = &stages->items[i];
		source_close(stage->source);
		plan_free(stage->plan);
		free(stage->nodes);
		free(stage->needs);
	}
	free(stages->items);
	free(stages->by_name);
	free(stages->order);
	free(stages);
}
