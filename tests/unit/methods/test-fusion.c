/*
 * Arcee Fusion of tensors that are large enough for a sample: its quantiles
 * against sorting, whichever passes find them.
 */
#define ISA base
#define MAX_COUNT (1280 * 512)

#include "merge/kernels/select.h"
#include "merge/kernels/softmax.h"
#include "tests/unit/methods/sample.h"

#define ROW 64
#define ROWS (MAX_COUNT / ROW)

static float importances[MAX_COUNT];
static uint32_t keys[MAX_COUNT];

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void find_importances(const struct sample *sample)
{
	const float *base = sample->in[sample->args.base];
	const float *other = sample->in[1 - sample->args.base];

	for (size_t at = 0; at < MAX_COUNT; at += ROW) {
		float divergence =
			(float)softmax_divergence(other + at, base + at, ROW);

		for (size_t i = at; i < at + ROW; i++) {
			importances[i] = fabsf(other[i] - base[i]) * divergence;
			keys[i] = select_key(importances[i]);
		}
	}
	qsort(keys, MAX_COUNT, sizeof(*keys), compare);
}

static double quantile(double share)
{
	return (double)select_value(keys[(size_t)(share * (MAX_COUNT - 1))]);
}

static void check_blend(struct sample *sample, const struct method *method)
{
	static float out[MAX_COUNT];
	const float *base = sample->in[sample->args.base];
	const float *other = sample->in[1 - sample->args.base];
	double limit = quantile(0.5) + 1.5 * (quantile(0.75) - quantile(0.25));
	struct method_fact fact;

	CHECK(method->tell(&fact, 3, sample->facts, &sample->args));
	CHECK(fact.value == limit || (isnan(fact.value) && isnan(limit)));
	sample_blend_all(sample, method, out);
	for (size_t i = 0; i < MAX_COUNT; i++) {
		float mask = (double)importances[i] >= limit;
		float expected = base[i] + (other[i] - base[i]) * mask;

		CHECK(out[i] == expected || isnan(expected));
	}
}

/* The passes must be those. */
static void check_rows(struct sample *sample, const unsigned *passes)
{
	size_t place = 0;

	while (strcmp(method_all()[place]->name, "arcee_fusion") != 0)
		place++;
	find_importances(sample);
	for (size_t i = 0; isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);
		if (!isa)
			continue;

		memset(sample->facts, 0, sizeof(sample->facts));
		for (int p = 0; p == 0 || passes[p] > 0; p++)
			CHECK(sample_pass(sample, isa->methods[place],
					  passes[p], i % 2) == passes[p + 1]);
		check_blend(sample, isa->methods[place]);
	}
}

static struct sample *near_rows(uint64_t seed)
{
	struct sample *sample = sample_new(method_find("arcee_fusion"),
					   DATA_NEAR, MAX_COUNT, seed);

	sample->args.row = ROW;
	return sample;
}

/* Changes a row of both inputs by the size of the change. */
static void scale_change(struct sample *sample, size_t row, float scale)
{
	for (size_t i = row * ROW; i < (row + 1) * ROW; i++)
		sample->rows[1][i] =
			sample->rows[0][i] +
			scale * (sample->rows[1][i] - sample->rows[0][i]);
}

static void test_alike(void)
{
	struct sample *sample = near_rows(1);

	check_rows(sample, (unsigned[]){SELECT_SAMPLE, SELECT_BAGS, 0});
	sample_free(sample);
}

static void test_unchanged(void)
{
	struct sample *sample = near_rows(2);

	for (size_t row = 0; row < ROWS; row++)
		scale_change(sample, row, 0);
	check_rows(sample, (unsigned[]){SELECT_SAMPLE, SELECT_BAGS, 0});
	sample_free(sample);
}

/* Units of rows of which half have changed a hundred times as much. */
static void test_uneven(void)
{
	struct sample *sample = near_rows(3);
	size_t unit = TILE / ROW;

	for (size_t row = 0; row < ROWS; row++)
		if (row / unit * 0x9e3779b1u % 7 < 3)
			scale_change(sample, row, 0.01f);
	check_rows(sample,
		   (unsigned[]){SELECT_SAMPLE, SELECT_DONE, SELECT_BAGS, 0});
	sample_free(sample);
}

/* Rows that the sample has not seen are otherwise. */
static void test_wrong_sample(void)
{
	const struct method *method = method_find("arcee_fusion");
	struct sample *sample = near_rows(4);

	for (size_t row = 0; row < ROWS; row++) {
		struct method_scan scan = {
			.first = row * ROW,
			.n = ROW,
		};
		if (method->reach(&scan, &sample->args) == 0)
			scale_change(sample, row, 0.1f);
	}
	check_rows(sample, (unsigned[]){SELECT_SAMPLE, SELECT_BAGS, SELECT_TOPS,
					SELECT_TOP_BAGS, 0});
	sample_free(sample);
}

static void test_broken(void)
{
	struct sample *sample = near_rows(5);

	for (size_t row = 0; row < ROWS; row += 3)
		sample->rows[row % 2][row * ROW + row % ROW] =
			row % 2 ? NAN : INFINITY;
	find_importances(sample);
	check_rows(sample,
		   (unsigned[]){SELECT_SAMPLE, SELECT_DONE, SELECT_BAGS, 0});
	sample_free(sample);
}

int main(void)
{
	test_alike();
	test_unchanged();
	test_uneven();
	test_wrong_sample();
	test_broken();
	return 0;
}
