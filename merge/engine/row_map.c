#include "merge/engine/row_map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int row_map_new(struct row_map **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void row_map_free(struct row_map *map)
{
	if (!map)
		return;
	free(map->runs);
	free(map->terms);
	free(map->means);
	free(map);
}

/* Room grows by doubling: n is a power of two, or 0, when it is full. */
static int make_room(void **items, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return 0;

	void *grown = reallocarray(*items, n ? 2 * n : 1, size);
	if (!grown)
		return -ENOMEM;
	*items = grown;
	return 0;
}

#define MAKE_ROOM(items, n)                                        \
	({                                                         \
		void *room_ = (items);                             \
		int r_ = make_room(&room_, (n), sizeof(*(items))); \
		(items) = room_;                                   \
		r_;                                                \
	})

/* Would the row be the next of the run that is last? */
static bool goes_on(const struct row_map *map, uint32_t input, uint32_t row)
{
	if (map->n_runs == 0)
		return false;
	const struct row_run *last = &map->runs[map->n_runs - 1];
	if (last->input != input)
		return false;
	return input == ROWS_ZERO || input == ROWS_PADDING ||
	       last->row + (map->n_rows - last->first) == row;
}

int row_map_add(struct row_map *map, uint32_t input, uint32_t row, uint32_t n)
{
	if (n > 0 && !goes_on(map, input, row)) {
		if (MAKE_ROOM(map->runs, map->n_runs) < 0)
			return -ENOMEM;
		map->runs[map->n_runs++] = (struct row_run){
			.first = map->n_rows,
			.input = input,
			.row = row,
		};
	}
	map->n_rows += n;
	if (input != ROWS_PADDING)
		map->n_real = map->n_rows;
	return 0;
}

int row_map_add_mean(struct row_map *map, const struct row_term *terms,
		     size_t n)
{
	if (MAKE_ROOM(map->means, map->n_means) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (MAKE_ROOM(map->terms, map->n_terms + i) < 0)
			return -ENOMEM;
		map->terms[map->n_terms + i] = terms[i];
	}
	map->means[map->n_means] = (uint32_t)map->n_terms;
	map->n_terms += n;
	return row_map_add(map, ROWS_MEAN, (uint32_t)map->n_means++, 1);
}

int row_map_pad(struct row_map *map, uint32_t n)
{
	return row_map_add(map, ROWS_PADDING, 0, n);
}

static void mark_used(const struct row_map *map, int *used)
{
	for (size_t i = 0; i < map->n_runs; i++) {
		if (map->runs[i].input < ROWS_PADDING)
			used[map->runs[i].input] = 1;
	}
	for (size_t i = 0; i < map->n_terms; i++)
		used[map->terms[i].input] = 1;
}

static int find_digest(struct row_map *map)
{
	struct hasher *hasher = hasher_new("rows");
	if (!hasher)
		return -ENOMEM;

	hasher_u64(hasher, map->n_rows);
	hasher_bytes(hasher, map->runs, map->n_runs * sizeof(*map->runs));
	hasher_bytes(hasher, map->terms, map->n_terms * sizeof(*map->terms));
	hasher_bytes(hasher, map->means, map->n_means * sizeof(*map->means));
	map->digest = hasher_finish(hasher);
	hasher_free(hasher);
	return 0;
}

int row_map_seal(struct row_map *map, int *used, size_t n)
{
	if (MAKE_ROOM(map->means, map->n_means) < 0)
		return -ENOMEM;
	map->means[map->n_means] = (uint32_t)map->n_terms;

	memset(used, 0, n * sizeof(*used));
	mark_used(map, used);
	for (size_t i = 0; i < n; i++)
		used[i] = used[i] ? (int)map->n_inputs++ : -1;
	for (size_t i = 0; i < map->n_runs; i++) {
		if (map->runs[i].input < ROWS_PADDING)
			map->runs[i].input = (uint32_t)used[map->runs[i].input];
	}
	for (size_t i = 0; i < map->n_terms; i++)
		map->terms[i].input = (uint32_t)used[map->terms[i].input];
	return find_digest(map);
}

const struct row_run *row_map_find(const struct row_map *map, uint32_t row,
				   uint32_t *ret_end)
{
	size_t low = 0, high = map->n_runs;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (map->runs[middle].first <= row)
			low = middle;
		else
			high = middle;
	}
	*ret_end = high < map->n_runs ? map->runs[high].first : map->n_rows;
	return &map->runs[low];
}
