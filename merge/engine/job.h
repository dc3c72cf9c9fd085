/*
 * One output tensor on its way: from what the inputs have for it to what it is.
 */
#ifndef MERGE_ENGINE_JOB_H
#define MERGE_ENGINE_JOB_H

#include "merge/arch/arch.h"
#include "merge/engine/planner.h"

struct node;

struct job {
	const struct slice_plan *slice;
	const char *name;	 /* of the output, owned by the caller */
	struct arch_place place; /* in the output */
	double t;		 /* for gradients */
	/* (n_inputs,) of the slice; node NULL where an input lacks it */
	struct job_input {
		struct node *node; /* borrowed from the plan */
		char *name;	   /* as parameters' filters see it; owned */
	} * inputs;
	unsigned n_present;
};

/* Of an input of a slice. */
static inline const struct model *model_of(const struct planner *planner,
					   const struct slice_plan *slice,
					   unsigned i)
{
	return &planner->models.items[slice->inputs[i].model];
}

/* Decides between merging and carrying, and adds the tensor to the plan. */
int job_plan(struct planner *planner, const struct job *job);

/* Adds the tensor as this node; how: see struct output_tensor. */
int job_emit(struct planner *planner, const struct job *job, struct node *node,
	     const char *how);

/* Remarks on it "what who". */
int job_note(struct planner *planner, const struct job *job, const char *what,
	     const char *who);

#endif
