/* The facts of SCE against sorting all variances. */
#include <stdlib.h>

#include "tests/unit/methods/sample.h"

static const struct isa *isa;

struct element {
	float variance;
	size_t index;
};

/* Descending; of equal ones the first. */
static int compare(const void *a, const void *b)
{
	const struct element *x = a, *y = b;

	if (x->variance != y->variance)
		return x->variance < y->variance ? 1 : -1;
	return x->index < y->index ? -1 : 1;
}

static double delta(const struct sample *sample, unsigned input, size_t at)
{
	return sample->in[input][at] - sample->in[sample->args.base][at];
}

static float variance(const struct sample *sample, size_t at)
{
	double n = sample->args.n_inputs - 1, mean = 0, sum = 0;

	for (unsigned i = 0; i < sample->args.n_inputs; i++)
		mean += delta(sample, i, at) / n; /* 0 of the base */
	for (unsigned i = 0; i < sample->args.n_inputs; i++)
		if ((int)i != sample->args.base)
			sum += (delta(sample, i, at) - mean) *
			       (delta(sample, i, at) - mean);
	return (float)(sum / n);
}

static size_t find_elements(const struct sample *sample, struct element *ret)
{
	size_t n = sample->args.count, n_varying = 0;

	for (size_t at = 0; at < n; at++) {
		ret[at] = (struct element){variance(sample, at), at};
		n_varying += ret[at].variance != 0;
	}
	qsort(ret, n, sizeof(*ret), compare);
	return n_varying;
}

static double fact(const struct sample *sample, const struct method *method,
		   unsigned i)
{
	struct method_fact fact;

	CHECK(method->tell(&fact, i, sample->facts, &sample->args));
	return fact.value;
}

static void check_facts(const struct sample *sample,
			const struct method *method)
{
	static struct element elements[MAX_COUNT];
	size_t varying = find_elements(sample, elements);
	size_t keep = (size_t)((double)varying * arg_shared(&sample->args, 0));
	double squares[MAX_INPUTS] = {}, sum = 0;

	for (size_t e = 0; e < keep; e++)
		for (unsigned i = 0; i < sample->args.n_inputs; i++) {
			double x = delta(sample, i, elements[e].index);
			squares[i] += x * x;
			sum += x * x;
		}
	CHECK(fact(sample, method, 0) == (double)varying);
	CHECK(fact(sample, method, 1) == (double)keep);
	if (sum < 1)
		return;
	for (unsigned i = 0; i < sample->args.n_inputs; i++)
		if ((int)i != sample->args.base)
			CHECK(fabs(fact(sample, method, 2 + i) -
				   squares[i] / sum) < 1e-6);
}

/* Of eighths many variances are equal, and all are exact. */
static void make_equal(struct sample *sample)
{
	for (unsigned i = 0; i < MAX_INPUTS; i++)
		for (size_t e = 0; e < sample->args.count; e++)
			sample->rows[i][e] = roundf(sample->rows[i][e] * 8) / 8;
}

static void check_sample(const struct method *method, unsigned n_inputs,
			 uint64_t seed)
{
	struct sample *sample =
		sample_new(method, DATA_EVEN, MAX_COUNT - 9, seed);

	sample->args.n_inputs = n_inputs;
	sample->args.base = (int)(seed % n_inputs);
	for (unsigned i = 0; i < MAX_INPUTS; i++)
		sample->values[i] = 0.05 + 0.9 * (double)(seed % 7) / 6;
	/* Sums in f64 of odd many are rounded, so that some that would be equal
	 * are not. */
	if (n_inputs % 2)
		make_equal(sample);
	sample_gather(sample, method, seed % 2);
	check_facts(sample, method);
	sample_free(sample);
}

int main(void)
{
	const struct isa *const *all = isa_all();

	for (; *all; all++) {
		isa = isa_find((*all)->name);
		if (!isa)
			continue;
		for (size_t m = 0; isa->methods[m]; m++)
			for (uint64_t seed = 0; seed < 40; seed++)
				if (strcmp(isa->methods[m]->name, "sce") == 0)
					check_sample(isa->methods[m],
						     2 + seed % 4, seed);
	}
	return 0;
}
