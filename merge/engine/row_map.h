/*
 * Which row of which input each row of a gathered matrix is.
 *
 * A map is a list of *runs*: rows that follow each other in the output and in
 * one input, so that the map of a vocabulary that hardly changes has a handful.
 * Beside rows of inputs there are rows of zeros, means of several inputs' rows,
 * and *padding*: the mean of all rows before it.
 *
 * Built by appending, then immutable; the plan owns the maps.
 */
#ifndef MERGE_ENGINE_ROW_MAP_H
#define MERGE_ENGINE_ROW_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "util/hash.h"
#include "util/macros.h"

/* In place of an input. */
#define ROWS_ZERO UINT32_MAX
#define ROWS_MEAN (UINT32_MAX - 1) /* row: place among the means */
#define ROWS_PADDING (UINT32_MAX - 2)

struct row_run {
	uint32_t first; /* row of the output; up to the next run's */
	uint32_t input, row;
};

struct row_term { /* one row of a mean */
	uint32_t input, row;
};

struct row_map {
	struct row_run *runs; /* (n_runs,) by first; owned */
	size_t n_runs;
	uint32_t n_rows;	/* of the output */
	uint32_t n_real;	/* those before the padding */
	struct row_term *terms; /* (n_terms,) owned */
	size_t n_terms;
	uint32_t *means; /* (n_means + 1,) first term of each; owned */
	size_t n_means;
	uint32_t n_inputs;
	struct digest digest;
};

int row_map_new(struct row_map **ret);
void row_map_free(struct row_map *map);
DEFINE_AUTO(row_map, row_map_free);

/* Appends the next row of the output, or the next n. 0 or -ENOMEM. */
int row_map_add(struct row_map *map, uint32_t input, uint32_t row, uint32_t n);

/* Appends a row that is the mean of these. */
int row_map_add_mean(struct row_map *map, const struct row_term *terms,
		     size_t n);

/* Appends padding. */
int row_map_pad(struct row_map *map, uint32_t n);

/* Ends the building: renumbers the inputs to those that are used, in order;
 * used, (n,), says which of n these were and becomes their new numbers or -1.
 */
int row_map_seal(struct row_map *map, int *used, size_t n);

/* The run of a row, and the row behind its last. */
const struct row_run *row_map_find(const struct row_map *map, uint32_t row,
				   uint32_t *ret_end);

#endif
