/* Evaluation in other pieces than tiles. */
#include <string.h>

#include "merge/engine/node_private.h"
#include "util/range.h"

int node_eval_range(const struct node *node, const struct eval *fresh,
		    uint64_t first, size_t n, float *out)
{
	for (size_t done = 0; done < n; done += TILE) {
		struct eval eval = *fresh;
		eval.wanted = max_u64(fresh->wanted, n) - done;
		int r = node->type->eval(node, &eval, first + done,
					 min_u64(TILE, n - done), out + done);
		if (r < 0)
			return r;
	}
	return 0;
}

int node_eval_next(const struct node *node, struct eval *eval, uint64_t first,
		   size_t n, float *out)
{
	if (n <= TILE)
		return node->type->eval(node, eval, first, n, out);

	int r = node_eval_range(node, eval, first, n, out);
	eval->windows += node->n_leaves;
	eval->rows += node->n_rows;
	return r;
}

/* The window that the thread has for this node, with element `first`. */
static int find_unit(const struct node *node, const struct eval *eval,
		     uint64_t first, uint64_t grain, node_unit_fn *compute,
		     struct row_window **ret)
{
	struct row_window *window = eval->rows;
	struct eval below = *eval;
	below.rows++;

	*ret = window;
	if (window->node == node && first >= window->first &&
	    first < window->first + window->n)
		return 0;

	uint64_t begin = first - first % grain;
	uint64_t end =
		min_u64(node->count, round_up(first + eval->wanted, grain));
	uint64_t n = min_u64(node->unit, end - begin);
	below.wanted = end - begin;
	window->node = NULL;
	int r = compute(node, &below, begin, n, window->data);
	if (r < 0)
		return r;
	window->node = node;
	window->first = begin;
	window->n = n;
	return 0;
}

int node_eval_units(const struct node *node, struct eval *eval, uint64_t first,
		    size_t n, float *out, uint64_t grain, node_unit_fn *compute)
{
	struct eval here = *eval;

	while (n > 0) {
		struct row_window *window = NULL;
		int r = find_unit(node, &here, first, grain, compute, &window);
		if (r < 0)
			return r;

		uint64_t at = first - window->first;
		size_t now = min_u64(n, window->n - at);
		memcpy(out, window->data + at, now * sizeof(*out));
		out += now;
		first += now;
		n -= now;
		here.wanted -= now;
	}
	eval->windows += node->n_leaves;
	eval->rows += node->n_rows;
	return 0;
}
