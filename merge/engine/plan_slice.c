/* From one slice of a recipe to its output tensors. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "merge/engine/job.h"
#include "merge/engine/plan_rows.h"
#include "merge/engine/planner.h"

struct claim {
	UT_hash_handle hh;
	char name[];
};

void planner_done(struct planner *planner)
{
	struct claim *claim, *next_claim;
	HASH_ITER(hh, planner->claims, claim, next_claim)
	{
		HASH_DEL(planner->claims, claim);
		free(claim);
	}
	models_done(&planner->models);
}

static int no_memory(struct planner *planner)
{
	return error_set(planner->err, -ENOMEM, "out of memory");
}

/* 1 if the name was free and is now taken, 0 if it was taken. */
static int claim_name(struct planner *planner, const char *name)
{
	struct claim *claim = NULL;
	size_t length = strlen(name);

	HASH_FIND(hh, planner->claims, name, length, claim);
	if (claim)
		return 0;
	claim = malloc(sizeof(*claim) + length + 1);
	if (!claim)
		return no_memory(planner);
	memcpy(claim->name, name, length + 1);
	HASH_ADD_KEYPTR(hh, planner->claims, claim->name, length, claim);
	return 1;
}

/* Embeddings and heads of all inputs in the order of the output's tokens. */
static int align_rows(struct planner *planner, struct job *job)
{
	unsigned n = job->slice->n_inputs;
	AUTO_FREE size_t *models = calloc(n + 1, sizeof(*models));
	AUTO_FREE struct node **nodes = calloc(n + 1, sizeof(struct node *));
	if (!models || !nodes)
		return no_memory(planner);

	for (unsigned i = 0; i < n; i++) {
		models[i] = job->slice->inputs[i].model;
		nodes[i] = job->inputs[i].node;
	}
	int r = plan_align(planner, job->name, models, nodes, n);
	for (unsigned i = 0; i < n; i++)
		job->inputs[i].node = nodes[i];
	return r;
}

/* Looks for the tensor in every input. */
static int find_inputs(struct planner *planner, struct job *job,
		       uint64_t offset)
{
	const struct slice_plan *slice = job->slice;

	for (unsigned i = 0; i < slice->n_inputs; i++) {
		const struct model *model = model_of(planner, slice, i);
		struct job_input *input = &job->inputs[i];
		input->name =
			job->place.position == ARCH_LAYER
				? arch_renumber(job->name,
						slice->inputs[i].first + offset)
				: strdup(job->name);
		if (!input->name)
			return no_memory(planner);
		input->node = model_node(model, input->name);
		if (input->node)
			job->n_present++;
	}
	/* Ties only stand in where some input stores the tensor itself. */
	for (unsigned i = 0; job->n_present > 0 && i < slice->n_inputs; i++) {
		struct job_input *input = &job->inputs[i];
		if (input->node)
			continue;
		input->node =
			model_tied(model_of(planner, slice, i), input->name);
		if (input->node)
			job->n_present++;
	}
	return align_rows(planner, job);
}

static double gradient_position(const struct slice_plan *slice,
				const struct arch_place *place, uint64_t offset)
{
	if (place->position == ARCH_LAYER)
		return slice->n_layers > 1
			       ? (double)offset / (double)(slice->n_layers - 1)
			       : 1;
	return place->beyond ? 1 : 0;
}

/* place and name are of the output; offset is the layer's in the slice. */
static int plan_name(struct planner *planner, const struct slice_plan *slice,
		     const char *name, struct arch_place place, uint64_t offset,
		     struct node *donors)
{
	int r = claim_name(planner, name);
	if (r <= 0)
		return r;

	AUTO_FREE struct job_input *inputs =
		calloc(slice->n_inputs, sizeof(*inputs));
	if (!inputs)
		return no_memory(planner);
	struct job job = {
		.slice = slice,
		.name = name,
		.place = place,
		.t = gradient_position(slice, &place, offset),
		.inputs = inputs,
	};
	r = find_inputs(planner, &job, offset);
	if (r == 0 && job.n_present > 0) {
		r = job_plan(planner, &job);
	} else if (r == 0) {
		if (slice->n_inputs > 0)
			r = job_note(planner, &job, "carried from the donor",
				     "");
		if (r == 0)
			r = plan_align(planner, name, &planner->models.donor,
				       &donors, 1);
		if (r == 0)
			r = job_emit(planner, &job, donors, tensor_carried);
	}
	for (unsigned i = 0; i < slice->n_inputs; i++)
		free(inputs[i].name);
	return r;
}

/* A tensor that one of the models has: is it this slice's, and where? */
static int offer(struct planner *planner, const struct slice_plan *slice,
		 const struct named_tensor *named, uint64_t first,
		 bool with_layers)
{
	struct arch_place place = named->place;
	if (place.module != slice->arch_module)
		return 0;

	if (place.position == ARCH_BEFORE && !slice->is_first)
		return 0;
	if (place.position == ARCH_AFTER && !slice->is_last)
		return 0;
	if (place.position == ARCH_LAYER) {
		if (!with_layers || place.layer < first ||
		    place.layer - first >= slice->n_layers)
			return 0;
		uint64_t offset = place.layer - first;
		place.layer = slice->out_first + offset;
		AUTO_FREE char *name = arch_renumber(named->name, place.layer);
		if (!name)
			return no_memory(planner);
		return plan_name(planner, slice, name, place, offset,
				 named->node);
	}
	if (!place.beyond)
		return plan_name(planner, slice, named->name, place, 0,
				 named->node);

	/* Extra layers keep following the counted ones. */
	const struct arch_module *module =
		&planner->models.arch->modules[slice->arch_module];
	place.layer = slice->out_layers + place.layer - module->n_layers;
	AUTO_FREE char *name = arch_renumber(named->name, place.layer);
	if (!name)
		return no_memory(planner);
	if (strcmp(name, named->name) != 0) {
		struct slice_plan alone = *slice;
		alone.n_inputs = 0;
		return plan_name(planner, &alone, name, place, 0, named->node);
	}
	return plan_name(planner, slice, name, place, 0, named->node);
}

static int offer_all(struct planner *planner, const struct slice_plan *slice,
		     const struct model *model, uint64_t first,
		     bool with_layers)
{
	for (size_t i = 0; i < model->n_names; i++) {
		int r = offer(planner, slice, &model->names[i], first,
			      with_layers);
		if (r < 0)
			return r;
	}
	return 0;
}

int plan_slice(struct planner *planner, const struct slice_plan *slice)
{
	const struct models *models = &planner->models;

	for (unsigned i = 0; i < slice->n_inputs; i++) {
		int r = offer_all(planner, slice, model_of(planner, slice, i),
				  slice->inputs[i].first, true);
		if (r < 0)
			return r;
	}
	return offer_all(planner, slice, &models->items[models->donor], 0,
			 false);
}

int plan_carried_module(struct planner *planner, size_t arch_module)
{
	const struct models *models = &planner->models;
	const struct arch_module *module = &models->arch->modules[arch_module];
	struct slice_plan slice = {
		.arch_module = arch_module,
		.base = -1,
		.n_layers = module->n_layers,
		.is_first = true,
		.is_last = true,
		.out_layers = module->n_layers,
	};

	int r = notes_add(&planner->plan->notes,
			  "module %s is not in the recipe: carried from %s",
			  module->name, models->items[models->donor].ref->path);
	if (r < 0)
		return no_memory(planner);
	return offer_all(planner, &slice, &models->items[models->donor], 0,
			 true);
}
