/*
 * Laws that every method keeps, whatever it computes; each is also shown a
 * method that breaks it.
 */
#include <stdlib.h>

#include "tests/unit/methods/sample.h"

/* As bytes of the output: NaNs have one form there. */
static bool same_stored(const float *a, const float *b, size_t n)
{
	static char stored_a[4 * TILE], stored_b[4 * TILE];
	const struct isa *isa = isa_all()[0];

	isa->store[DTYPE_F32](stored_a, a, n);
	isa->store[DTYPE_F32](stored_b, b, n);
	return memcmp(stored_a, stored_b, n * sizeof(float)) == 0;
}

static size_t tile_size(const struct sample *sample, size_t first)
{
	size_t left = sample->args.count - first;

	return left < TILE ? left : TILE;
}

/* Any range is that slice of the whole, and nothing behind it is written. */
static bool ranges_are_slices(struct sample *sample,
			      const struct method *method)
{
	static float whole[TILE], range[TILE + 1];

	sample_gather(sample, method, false);
	for (size_t at = 0; at < sample->args.count; at += TILE) {
		size_t n = tile_size(sample, at);

		sample_blend(sample, method, at, n, whole);
		for (int i = 0; i < 8; i++) {
			size_t begin = sample_bits(sample) % n;
			size_t size = 1 + sample_bits(sample) % (n - begin);

			range[size] = 1234;
			sample_blend(sample, method, at + begin, size, range);
			if (range[size] != 1234 ||
			    !same_stored(whole + begin, range, size))
				return false;
		}
	}
	return true;
}

/* Facts do not depend on the order in which pieces are scanned. */
static bool order_is_free(struct sample *sample, const struct method *method)
{
	uint64_t facts[1024];

	sample_gather(sample, method, false);
	memcpy(facts, sample->facts, sizeof(facts));
	sample_gather(sample, method, true);
	return memcmp(facts, sample->facts, sizeof(facts)) == 0;
}

/* Two instruction sets give the same facts and the same bytes. */
static bool sets_agree(struct sample *sample, const struct method *a,
		       const struct method *b)
{
	static float out_a[TILE], out_b[TILE];
	uint64_t facts[1024];

	sample_gather(sample, a, false);
	memcpy(facts, sample->facts, sizeof(facts));
	sample_gather(sample, b, false);
	if (memcmp(facts, sample->facts, sizeof(facts)) != 0)
		return false;
	for (size_t at = 0; at < sample->args.count; at += TILE) {
		size_t n = tile_size(sample, at);

		sample_blend(sample, a, at, n, out_a);
		sample_blend(sample, b, at, n, out_b);
		if (!same_stored(out_a, out_b, n))
			return false;
	}
	return true;
}

/* What copies() names is what blend() gives, where all is finite. */
static bool copies_are_equal(struct sample *sample, const struct method *method)
{
	static float out[TILE];
	int copied = method->copies ? method->copies(&sample->args) : -1;

	if (copied < 0)
		return copied == -1;
	if (copied >= (int)sample->args.n_inputs)
		return false;
	sample_gather(sample, method, false);
	for (size_t at = 0; at < sample->args.count; at += TILE) {
		size_t n = tile_size(sample, at);

		sample_blend(sample, method, at, n, out);
		for (size_t i = 0; i < n; i++)
			if (out[i] != sample->in[copied][at + i])
				return false;
	}
	return true;
}

static bool keeps_laws(const struct method *method, size_t place,
		       enum data data, size_t count, uint64_t seed)
{
	struct sample *sample = sample_new(method, data, count, seed);
	bool kept = ranges_are_slices(sample, method) &&
		    order_is_free(sample, method);

	/* Values whose product has fewer digits than they. */
	if (data != DATA_BROKEN && data != DATA_SUBNORMAL)
		kept = kept && copies_are_equal(sample, method);
	for (size_t i = 1; kept && isa_all()[i]; i++) {
		const struct isa *isa = isa_find(isa_all()[i]->name);

		if (isa)
			kept = sets_agree(sample, method, isa->methods[place]);
	}
	free(sample);
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
				for (int again = 0; again < 3; again++)
					CHECK(keeps_laws(method_all()[i], i,
							 data, counts[c],
							 seed++));
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
	free(sample);
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

static void by_place(float *out, const float *const *in, uint64_t first,
		     size_t n, const struct method_args *args,
		     const void *facts)
{
	(void)first, (void)args, (void)facts;

	for (size_t i = 0; i < n; i++)
		out[i] = in[0][i] + (float)(i % 16);
}

static void too_far(float *out, const float *const *in, uint64_t first,
		    size_t n, const struct method_args *args, const void *facts)
{
	(void)first, (void)args, (void)facts;

	memcpy(out, in[0], n * sizeof(*out));
	if (n < TILE)
		out[n] = 0;
}

static void nearly(float *out, const float *const *in, uint64_t first, size_t n,
		   const struct method_args *args, const void *facts)
{
	(void)first, (void)args, (void)facts;

	for (size_t i = 0; i < n; i++)
		out[i] = in[0][i] * 0x1.000002p0f;
}

static size_t one_fact(const struct method_args *args)
{
	(void)args;

	return sizeof(double);
}

/* Looks at facts of a pass that is not over. */
static void peeking_scan(void *part, unsigned pass, const void *facts,
			 const float *const *in, uint64_t first, size_t n,
			 const struct method_args *args)
{
	static double seen;
	(void)pass, (void)facts, (void)n, (void)args;

	seen = seen / 2 + in[0][0] + (double)first;
	*(double *)part += seen;
}

static void sum_fold(void *facts, unsigned pass, const void *part,
		     const struct method_args *args)
{
	(void)pass, (void)args;

	*(double *)facts += *(const double *)part;
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

	sample->args.n_inputs = 1;
	sample->args.values = (double[]){1, 1};
	broken.blend = nearly;
	CHECK(!sets_agree(sample, linear, &broken));
	CHECK(!copies_are_equal(sample, &broken));
	CHECK(copies_are_equal(sample, linear));

	broken.n_passes = 1;
	broken.facts_size = one_fact;
	broken.scan = peeking_scan;
	broken.fold = sum_fold;
	CHECK(!order_is_free(sample, &broken));
	free(sample);
}

int main(void)
{
	test_every_method();
	test_copies();
	test_broken_methods_are_caught();
	return 0;
}
