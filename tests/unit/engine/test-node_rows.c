/*
 * Nodes that are computed by units: what is computed is what is wanted, once,
 * in whole grains.
 */
#include "merge/engine/node_private.h"
#include "tests/unit/check.h"

#define UNIT 1000
#define COUNT 4500

static uint64_t n_computed, n_calls;

static int compute(const struct node *node, const struct eval *eval,
		   uint64_t first, uint64_t n, float *out)
{
	CHECK(first + n <= node->count && n <= node->unit);
	CHECK(eval->wanted >= n && first + eval->wanted <= node->count);
	for (uint64_t i = 0; i < n; i++)
		out[i] = (float)(first + i);
	n_computed += n;
	n_calls++;
	return 0;
}

static const struct node node = {.count = COUNT, .unit = UNIT, .n_rows = 1};
static float room[UNIT];
static struct row_window window;

static void ask(uint64_t first, size_t n, uint64_t end, uint64_t grain)
{
	float out[300];
	struct eval eval = {.rows = &window, .wanted = end - first};

	CHECK(n <= 300);
	CHECK(node_eval_units(&node, &eval, first, n, out, grain, compute) ==
	      0);
	CHECK(eval.rows == &window + 1);
	for (size_t i = 0; i < n; i++)
		CHECK(out[i] == (float)(first + i));
}

static void begin(void)
{
	window = (struct row_window){.data = room};
	n_computed = n_calls = 0;
}

/* A stretch that ends within a unit, tile by tile. */
static void test_stretch(void)
{
	begin();
	for (uint64_t at = 150; at < 1950; at += 300)
		ask(at, 300, 1950, 1);
	CHECK(n_computed == 1800 && n_calls == 2);
}

/* Short rows from all over. */
static void test_short(void)
{
	begin();
	for (uint64_t i = 0; i < 40; i++) {
		uint64_t at = i * 7 % 40 * 100;
		ask(at, 50, at + 100, 1);
		ask(at + 50, 50, at + 100, 1);
	}
	CHECK(n_computed == 4000 && n_calls == 40);
}

static void test_grains(void)
{
	begin();
	ask(430, 20, 510, 100);
	CHECK(n_computed == 200 && window.first == 400);
	ask(590, 10, 600, 100);
	CHECK(n_computed == 200);
	ask(4450, 50, 9000, 1000);
	CHECK(n_computed == 700 && window.first == 4000);
}

int main(void)
{
	test_stretch();
	test_short();
	test_grains();
	return 0;
}
