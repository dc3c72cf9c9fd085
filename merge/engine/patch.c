#include "merge/engine/patch.h"

#include <string.h>

#include "merge/engine/factor.h"
#include "merge/engine/node_lora.h"
#include "merge/kernels/isa.h"
#include "merge/kernels/product.h"
#include "merge/tensor/dtype.h"
#include "util/range.h"

/* What is rounded before it is added is made in parts of so many rows. */
#define PART_ROWS ((uint64_t)32)

void patch_round(const struct patching *how, float *values, size_t n)
{
	void (*round)(float *, size_t) = how->isa->round[how->dtype->code];

	if (round)
		round(values, n);
}

/* `left` is that of the area's first row, `panels` of the patch. */
static void add_product(const struct patching *how,
			const struct lora_patch *patch, const struct area *area,
			const float *left, const float *panels)
{
	struct product product = {
		.left = left,
		.panels = panels,
		.rank = patch->rank,
		.n_rows = area->n_rows,
		.first = area->column - patch->column,
		.n = area->n_columns,
		.scale = patch->scale,
		.step = area->step,
	};

	how->isa->add_product(area->values, &product);
}

/* A product added to -0 is itself, -0 and +0 included. */
static void add_rounded(const struct patching *how,
			const struct lora_patch *patch, const struct area *area,
			const float *left, const float *panels)
{
	uint64_t n = area->n_columns;
	struct area part = *area;
	part.values = how->delta;
	part.step = n;

	for (size_t i = 0; i < area->n_rows * n; i++)
		part.values[i] = -0.0f;
	add_product(how, patch, &part, left, panels);
	patch_round(how, part.values, area->n_rows * n);
	for (uint64_t i = 0; i < area->n_rows; i++) {
		float *values = area->values + i * area->step;
		for (uint64_t j = 0; j < n; j++)
			values[j] += part.values[i * n + j];
	}
}

static void add_parts(const struct patching *how,
		      const struct lora_patch *patch, const struct area *area,
		      const float *left, const float *panels)
{
	uint64_t n_rows = min_u64(area->n_rows, PART_ROWS);
	uint64_t n_columns = PATCH_ROOM / n_rows;

	for (uint64_t i = 0; i < area->n_rows; i += n_rows) {
		for (uint64_t j = 0; j < area->n_columns; j += n_columns) {
			struct area part = {
				.n_rows = min_u64(n_rows, area->n_rows - i),
				.column = area->column + j,
				.n_columns =
					min_u64(n_columns, area->n_columns - j),
				.values = area->values + i * area->step + j,
				.step = area->step,
			};
			add_rounded(how, patch, &part, left + i * patch->rank,
				    panels);
		}
	}
}

static int multiply(const struct patching *how, const struct lora_patch *patch,
		    const struct area *area, const float *left)
{
	const float *panels = NULL;
	int r = factor_get(patch->right, how->isa, &panels);
	if (r < 0)
		return r;

	panels += patch->right_batch * factor_step(patch->right);
	if (how->rounds_twice)
		add_parts(how, patch, area, left, panels);
	else
		add_product(how, patch, area, left, panels);
	factor_put(patch->right);
	return 0;
}

static void replace(const struct lora_patch *patch, const struct area *area,
		    const float *left)
{
	for (uint64_t i = 0; i < area->n_rows; i++)
		memcpy(area->values + i * area->step,
		       left + i * patch->n_columns + area->column -
			       patch->column,
		       area->n_columns * sizeof(*left));
}

/* A patch on an area that lies within it. */
static int apply(const struct patching *how, const struct lora_patch *patch,
		 const struct area *area)
{
	uint64_t width = patch->rank ? patch->rank : patch->n_columns;
	const float *left = NULL;
	int r = factor_get(patch->left, how->isa, &left);
	if (r < 0)
		return r;

	left += (patch->left_row + area->row - patch->row) * width;
	if (patch->rank)
		r = multiply(how, patch, area, left);
	else
		replace(patch, area, left);
	factor_put(patch->left);
	return r;
}

int patch_apply(const struct patching *how, const struct lora_patch *patches,
		size_t n, const struct area *area)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct lora_patch *patch = &patches[i];
		uint64_t row = max_u64(area->row, patch->row);
		uint64_t column = max_u64(area->column, patch->column);
		uint64_t row_end = min_u64(area->row + area->n_rows,
					   patch->row + patch->n_rows);
		uint64_t column_end = min_u64(area->column + area->n_columns,
					      patch->column + patch->n_columns);
		if (row >= row_end || column >= column_end)
			continue;
		struct area common = {
			.row = row,
			.n_rows = row_end - row,
			.column = column,
			.n_columns = column_end - column,
			.values = area->values +
				  (row - area->row) * area->step + column -
				  area->column,
			.step = area->step,
		};
		r = apply(how, patch, &common);
	}
	return r;
}
