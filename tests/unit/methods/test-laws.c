/*
 * Laws that every method keeps, whatever it computes; each is also shown a
 * method that breaks it.
 */
#include <stdlib.h>

#include "tests/unit/methods/sample.h"

#ifndef SAMPLES /* of each kind; the build has fewer where it is slow */
#define SAMPLES 3
#endif

/* As bytes of the output: NaNs have one form there. */
static bool same_stored(const float *a, const float *b, size_t n)
{
	static char stored_a[4 * MAX_COUNT], stored_b[4 * MAX_COUNT];
	const struct isa *isa = isa_all()[0];

	isa->store[DTYPE_F32](stored_a, a, n);
	isa->store[DTYPE_F32](stored_b, b, n);
	return memcmp(stored_a, stored_b, n * sizeof(float)) == 0;
}

/* Any range is that slice of the whole, and nothing behind it is written. For
 * methods by rows, any rows. */
static bool ranges_are_slices(struct sample *sample,
			      const struct method *method)
{
	static float whole[MAX_COUNT], range[MAX_COUNT + 1];
	size_t unit = sample_unit(sample, method), count = sample->args.count;
	bool rows = method->by_rows && method->by_rows(&sample->args);
	size_t grain = rows ? sample->args.row : 1;

	sample_gather(sample, method, false);
	sample_blend_all(sample, method, whole);
	for (size_t at = 0; at < count; at += unit) {
		size_t n = count - at < unit ? count - at : unit;

		for (int i = 0; i < 8; i++) {
			size_t begin = sample_bits(sample) % (n / grain);
			size_t size =
				1 + sample_bits(sample) % (n / grain - begin);

			begin *= grain;
			size *= grain;
			range[size] = 1234;
			sample_blend(sample, method, at + begin, size, range);
			if (range[size] != 1234 ||
			    !same_stored(whole + at + begin, range, size))
				return false;
		}
	}
	return true;
}

/* With the marks that a scan has left, blends give what they give without. */
static bool marks_agree(struct sample *sample, const struct method *method)
{
	static float without[MAX_COUNT], with[MAX_COUNT];
	size_t unit = sample_unit(sample, method), count = sample->args.count;

	sample_gather(sample, method, false);
	if (sample->size_marks == 0)
		return true;
	sample_blend_all(sample, method, without);
	for (size_t at = 0; at < count; at += unit)
		sample_blend_marked(sample, method, at,
				    count - at < unit ? count - at : unit,
				    with + at);
	return same_stored(without, with, count);
}

/* Facts do not depend on the order in which pieces are scanned. */
static bool order_is_free(struct sample *sample, const struct method *method)
{
	uint64_t facts[MAX_FACTS];

	sample_gather(sample, method, false);
	memcpy(facts, sample->facts, sizeof(facts));
	sample_gather(sample, method, true);
	return memcmp(facts, sample->facts, sizeof(facts)) == 0;
}

/* Two instruction sets give the same facts and the same bytes. */
static bool sets_agree(struct sample *sample, const struct method *a,
		       const struct method *b)
{
	static float out_a[MAX_COUNT], out_b[MAX_COUNT];
	uint64_t facts[MAX_FACTS];

	sample_gather(sample, a, false);
	memcpy(facts, sample->facts, sizeof(facts));
	sample_gather(sample, b, false);
	if (memcmp(facts, sample->facts, sizeof(facts)) != 0)
		return false;
	sample_blend_all(sample, a, out_a);
	sample_blend_all(sample, b, out_b);
	return same_stored(out_a, out_b, sample->args.count);
}

/* Halves give what they are as floats. Rounds the inputs to them. */
static bool halves_are_floats(struct sample *sample,
			      const struct method *method)
{
	static float out[MAX_COUNT], of_halves[MAX_COUNT];
	uint64_t facts[MAX_FACTS];
	bool rows = method->by_rows && method->by_rows(&sample->args);
	if (rows || !method->takes_halves ||
	    !method->takes_halves(&sample->args))
		return true;

	for (unsigned i = 0; i < MAX_INPUTS; i++)
		isa_all()[0]->round[DTYPE_BF16](sample->rows[i],
						sample->args.count);
	sample_gather(sample, method, false);
	memcpy(facts, sample->facts, sizeof(facts));
	sample_blend_all(sample, method, out);
	sample->args.halves = true;
	sample_gather(sample, method, false);
	sample_blend_all(sample, method, of_halves);
	sample->args.halves = false;
	return memcmp(facts, sample->facts, sizeof(facts)) == 0 &&
	       same_stored(out, of_halves, sample->args.count);
}

/* What copies() names is nearly what blend() gives, where all is finite. */
static bool copies_are_equal(struct sample *sample, const struct method *method)
{
	static float out[MAX_COUNT];
	int copied = method->copies ? method->copies(&sample->args) : -1;

	if (copied < 0)
		return copied == -1;
	if (copied >= (int)sample->args.n_inputs)
		return false;
	sample_gather(sample, method, false);
	sample_blend_all(sample, method, out);
	float most = 0, apart = 0;
	for (size_t i = 0; i < sample->args.count; i++) {
		most = fmaxf(most, fabsf(sample->in[copied][i]));
		apart = fmaxf(apart, fabsf(out[i] - sample->in[copied][i]));
	}
	return apart <= 1e-6f * most;
}

static bool keeps_laws(const struct method *method, size_t place,
		       enum data data, size_t count, uint64_t seed)
{
	struct sample *sample = sample_new(method, data, count, seed);
	bool kept = ranges_are_slices(sample, method) &&
		    marks_agree(sample, method) &&
		    order_is_free(sample, method);

	/* Values whose product has fewer digits than they. */
	if (data != DATA_BROKEN && data != DATA_SUBNORMAL)
		kept = kept && copies_are_equal(sample, method);
	for (size_t i = 1; kept && isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);

		if (isa)
			kept = sets_agree(sample, method, isa->methods[place]);
	}
	for (size_t i = 0; kept && isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);

		if (isa)
			kept = halves_are_floats(sample, isa->methods[place]);
	}
	sample_free(sample);
	return kept;
}

static void test_every_method(void)
{
	static const size_t counts[] = {1, 63, TILE, 2 * TILE + 17,
					5 * TILE - 1};
	uint64_t seed = 1;

	for (size_t i = 0; method_all()[i]; i++)
		for (enum data data = 0; data < DATA_COUNT; data++)
			for (int c = 0; c < 5; c++)
				for (int again = 0; again < SAMPLES; again++)
					CHECK(keeps_laws(method_all()[i], i,
							 data, counts[c],
							 seed++));
}

/* What a plan asks of tensors without elements. */
static void test_empty(void)
{
	for (size_t i = 0; method_all()[i]; i++) {
		const struct method *method = method_all()[i];
		struct sample *sample = sample_new(method, DATA_EVEN, 64, i);

		sample->args.count = sample->args.row = 0;
		sample->args.stride = 0;
		if (method_has_facts(method, &sample->args)) {
			struct method_sizes sizes =
				method->sizes(0, &sample->args);
			CHECK(sizes.marks <= sizes.part);
		}
		sample_free(sample);
	}
}

/* Parameters at which the result is one of the inputs. */
static void check_copy(const char *name, unsigned n_inputs, int base,
		       const double *values, int expected)
{
	const struct method *method = method_find(name);
	struct sample *sample = sample_new(method, DATA_NEAR, TILE + 5, 9);

	sample->args.n_inputs = n_inputs;
	sample->args.base = base;
	sample->args.values = values;
	CHECK(method->copies(&sample->args) == expected);
	CHECK(copies_are_equal(sample, method));
	sample_free(sample);
}

static void test_copies(void)
{
	check_copy("linear", 1, -1, (double[]){0.25, 1}, 0);
	check_copy("linear", 1, -1, (double[]){0.25, 0}, -1);
	check_copy("linear", 1, -1, (double[]){0.3, 1}, -1);
	check_copy("linear", 1, -1, (double[]){0, 1}, -1);
	check_copy("linear", 1, -1, (double[]){1, 0}, 0);
	check_copy("linear", 2, -1, (double[]){1, 0, 1, 1}, -1);
	check_copy("passthrough", 1, -1, (double[]){1}, 0);
	check_copy("passthrough", 1, -1, (double[]){2}, -1);
	check_copy("slerp", 2, 1, (double[]){0, 0}, 1);
	check_copy("slerp", 2, 1, (double[]){1, 1}, 0);
	check_copy("slerp", 2, 0, (double[]){0.5, 0.5}, -1);
	check_copy("task_arithmetic", 1, 0, (double[]){0, 1, 1, 0, 1, 0}, 0);
}

/* Methods that break one law each. */

static void by_place(float *out, float *const *in, uint64_t first, size_t n,
		     const struct method_args *args, const void *facts)
{
	const char *bytes = (const char *)in[0];
	(void)first, (void)args, (void)facts;

	for (size_t i = 0; i < n; i++) {
		float x; /* halves, which it is shown, too, have no alignment */

		memcpy(&x, bytes + i * sizeof(x), sizeof(x));
		out[i] = x + (float)(i % 16);
	}
}

static void too_far(float *out, float *const *in, uint64_t first, size_t n,
		    const struct method_args *args, const void *facts)
{
	(void)first, (void)args, (void)facts;

	memcpy(out, in[0], n * sizeof(*out));
	if (n < TILE)
		out[n] = 0;
}

static void nearly(float *out, float *const *in, uint64_t first, size_t n,
		   const struct method_args *args, const void *facts)
{
	(void)first, (void)args, (void)facts;

	for (size_t i = 0; i < n; i++)
		out[i] = in[0][i] * 0x1.0001p0f;
}

static size_t one_fact(const struct method_args *args)
{
	(void)args;

	return sizeof(double);
}

static struct method_sizes one_sum(unsigned pass,
				   const struct method_args *args)
{
	(void)pass, (void)args;

	return (struct method_sizes){sizeof(double), sizeof(double)};
}

/* Depends on what was scanned before. */
static void remembering_scan(const struct method_scan *scan,
			     const struct method_args *args)
{
	static double seen;
	(void)args;

	seen = seen / 2 + scan->in[0][0] + (double)scan->first;
	*(double *)scan->part += seen;
}

static void sum_fold(void *sum, const void *part, unsigned pass,
		     const void *facts, const struct method_args *args)
{
	(void)pass, (void)facts, (void)args;

	*(double *)sum += *(const double *)part;
}

static unsigned keep_sum(void *facts, unsigned pass, const void *sum,
			 const struct method_args *args)
{
	(void)pass, (void)args;

	memcpy(facts, sum, sizeof(double));
	return 0;
}

static struct method_sizes one_mark(unsigned pass,
				    const struct method_args *args)
{
	(void)pass, (void)args;

	return (struct method_sizes){8, 8, 8};
}

static void by_marks(float *out, float *const *in, uint64_t first, size_t n,
		     const struct method_args *args, const void *facts)
{
	(void)first, (void)facts;

	for (size_t i = 0; i < n; i++)
		out[i] = args->marks ? 1 : in[0][i];
}

static void test_broken_methods_are_caught(void)
{
	const struct method *linear = method_find("linear");
	struct method broken = *linear;
	struct sample *sample = sample_new(linear, DATA_EVEN, MAX_COUNT, 5);

	CHECK(ranges_are_slices(sample, linear));
	broken.blend = by_place;
	CHECK(!ranges_are_slices(sample, &broken));
	broken.blend = too_far;
	CHECK(!ranges_are_slices(sample, &broken));
	CHECK(halves_are_floats(sample, linear));
	broken.blend = by_place; /* takes them to be floats */
	CHECK(!halves_are_floats(sample, &broken));

	sample->args.n_inputs = 1;
	sample->args.values = (double[]){1, 1};
	broken.blend = nearly;
	CHECK(!sets_agree(sample, linear, &broken));
	CHECK(!copies_are_equal(sample, &broken));
	CHECK(copies_are_equal(sample, linear));

	broken.facts_size = one_fact;
	broken.sizes = one_sum;
	broken.scan = remembering_scan;
	broken.fold = sum_fold;
	broken.settle = keep_sum;
	CHECK(!order_is_free(sample, &broken));
	CHECK(marks_agree(sample, &broken));
	broken.sizes = one_mark;
	broken.blend = by_marks;
	CHECK(!marks_agree(sample, &broken));
	sample_free(sample);
}

int main(void)
{
	test_every_method();
	test_empty();
	test_copies();
	test_broken_methods_are_caught();
	return 0;
}
