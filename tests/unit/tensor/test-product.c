/*
 * Products of small matrices: every element is the fused sum in the order of
 * its terms, on every instruction set and in any part.
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/product.h"
#include "tests/unit/check.h"

#define MAX_ROWS 29
#define MAX_COLUMNS 70
#define MAX_RANK 600

static float left[MAX_ROWS * MAX_RANK];
static float right[MAX_RANK * MAX_COLUMNS];
static _Alignas(64) float panels[MAX_RANK * 80];
static float expected[MAX_ROWS * MAX_COLUMNS];
static float found[MAX_ROWS * MAX_COLUMNS];

static float next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (float)(int)*seed * 0x1p-31f;
}

static void fill(size_t rank, size_t n_rows, size_t columns)
{
	unsigned seed = (unsigned)(rank * 31 + n_rows * 7 + columns);

	for (size_t i = 0; i < n_rows * rank; i++)
		left[i] = next(&seed);
	memset(panels, 0, sizeof(panels));
	for (size_t k = 0; k < rank; k++) {
		for (size_t j = 0; j < columns; j++) {
			right[k * columns + j] = next(&seed);
			panels[j / PANEL * PANEL * rank + k * PANEL +
			       j % PANEL] = right[k * columns + j];
		}
	}
	for (size_t i = 0; i < n_rows; i++) {
		for (size_t j = 0; j < columns; j++) {
			float sum = 0;
			for (size_t k = 0; k < rank; k++)
				sum = fmaf(left[i * rank + k],
					   right[k * columns + j], sum);
			expected[i * columns + j] = sum;
		}
	}
}

/* Rounded after each operation: the values, then what is added, scaled. */
static float value(size_t i, size_t j)
{
	return (float)(i * 3 + j) * 0.37f - 2;
}

static void check_part(const struct isa *isa, size_t rank, size_t columns,
		       size_t row, size_t n_rows, size_t first, size_t n)
{
	struct product product = {
		.left = left + row * rank,
		.panels = panels,
		.rank = rank,
		.n_rows = n_rows,
		.first = first,
		.n = n,
		.scale = 0.3f,
		.step = MAX_COLUMNS,
	};

	for (size_t i = 0; i < n_rows; i++)
		for (size_t j = 0; j < MAX_COLUMNS; j++)
			found[i * MAX_COLUMNS + j] = value(i, j);
	isa->add_product(found, &product);
	for (size_t i = 0; i < n_rows; i++) {
		for (size_t j = 0; j < MAX_COLUMNS; j++) {
			volatile float sum = value(i, j);
			if (j < n) {
				volatile float scaled =
					expected[(row + i) * columns + first +
						 j] *
					0.3f;
				sum += scaled;
			}
			float wanted = sum;
			CHECK(memcmp(&found[i * MAX_COLUMNS + j], &wanted,
				     sizeof(wanted)) == 0);
		}
	}
}

static void check_shape(size_t rank, size_t n_rows, size_t columns)
{
	fill(rank, n_rows, columns);
	for (size_t i = 0; isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);
		if (!isa)
			continue;
		check_part(isa, rank, columns, 0, n_rows, 0, columns);
		for (size_t first = 0; first < columns; first += 13)
			check_part(isa, rank, columns, n_rows / 3,
				   n_rows - n_rows / 3, first, columns - first);
		check_part(isa, rank, columns, n_rows - 1, 1, columns / 2, 1);
	}
}

int main(void)
{
	static const size_t ranks[] = {1, 2, 4, 16, 255, 256, 257, 600};

	for (size_t i = 0; i < sizeof(ranks) / sizeof(ranks[0]); i++) {
		check_shape(ranks[i], 1, 1);
		check_shape(ranks[i], 5, 16);
		check_shape(ranks[i], 12, 48);
		check_shape(ranks[i], 8, 33);
		check_shape(ranks[i], 29, 70);
	}
	return 0;
}
