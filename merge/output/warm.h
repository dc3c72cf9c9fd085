/*
 * Filling the cache ahead of readers: the computed blocks of an image in the
 * order of its files, some at a time, with background priority.
 *
 * Where a walk stands is only a number, so it may be given up and resumed at
 * any time. What is stored already is not computed again. Every function may
 * be called from any thread.
 */
#ifndef MERGE_OUTPUT_WARM_H
#define MERGE_OUTPUT_WARM_H

#include <stdint.h>

struct engine;
struct image;

/* Blocks that a step asks for at most. */
#define WARM_BLOCKS 16

/*
 * Which tensors. Parts are of about the same size, and whole tensors, so that
 * one that must be scanned is scanned in one part only.
 */
struct warm_choice {
	const char *pattern;	/* of names, as fnmatch(3); NULL: all */
	uint32_t part, n_parts; /* 1 <= part <= n_parts */
};

/*
 * One step, embedded in its owner. Set the first group of fields, call
 * warm_step(); done() is called exactly once, as that of an image_read.
 */
struct warm_step {
	const struct image *image;
	struct engine *engine;
	struct warm_choice choice; /* borrowed during warm_step() only */
	uint64_t position;	   /* bytes; 0, then the last step's next */
	void (*done)(struct warm_step *step, int r);

	uint64_t next;		  /* position after this step */
	uint64_t total;		  /* where the walk ends */
	struct warm_state *state; /* ours, until done() */
};

void warm_step(struct warm_step *step);

#endif
