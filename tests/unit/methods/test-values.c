/*
 * Some methods against their formula, computed here in f64 (long double for
 * sums over the tensor), and against values worked out by hand. The golden
 * tests compare all methods.
 */
#include <stdlib.h>

#include "tests/unit/methods/sample.h"

/* Element e of the result in f64; *scale: the size of the terms in it. */
typedef double formula_fn(const struct sample *sample, size_t e, double *scale);

static double value(const struct sample *sample, const char *method,
		    const char *param, unsigned input)
{
	int place = method_param_find(method_find(method), param);

	CHECK(place >= 0);
	return arg_of(&sample->args, (unsigned)place, input);
}

static double linear_formula(const struct sample *sample, size_t e,
			     double *scale)
{
	double sum = 0, weights = 0;

	*scale = 0;
	for (unsigned i = 0; i < sample->args.n_inputs; i++) {
		double weight = value(sample, "linear", "weight", i);

		sum += weight * sample->in[i][e];
		weights += weight;
		*scale += fabs(weight * sample->in[i][e]);
	}
	if (!value(sample, "linear", "normalize", 0))
		return sum;
	/* A small sum of the weights has lost digits in f32. */
	*scale /= weights * weights / (1 + fabs(weights));
	return sum / weights;
}

static double passthrough_formula(const struct sample *sample, size_t e,
				  double *scale)
{
	double x = sample->in[0][e] * value(sample, "passthrough", "scale", 0);

	*scale = fabs(x);
	return x;
}

static double task_formula(const struct sample *sample, size_t e, double *scale)
{
	const char *name = "task_arithmetic";
	double base = sample->in[sample->args.base][e];
	double sum = 0, weights = 0, terms = 0;

	for (unsigned i = 0; i < sample->args.n_inputs; i++) {
		double weight = value(sample, name, "weight", i);
		if (i == (unsigned)sample->args.base)
			continue;

		sum += weight * (sample->in[i][e] - base);
		terms += fabs(weight) * (fabs(sample->in[i][e]) + fabs(base));
		weights += weight;
	}
	double lambda = value(sample, name, "lambda", 0);
	if (value(sample, name, "normalize", 0) && weights != 0) {
		lambda /= weights;
		terms *= 1 + 1 / fabs(weights);
	}
	*scale = fabs(base) + fabs(lambda) * terms;
	return base + lambda * sum;
}

static long double dot(const struct sample *sample, unsigned i, unsigned j)
{
	long double sum = 0;

	for (size_t e = 0; e < sample->args.count; e++)
		sum += (long double)sample->in[i][e] * sample->in[j][e];
	return sum;
}

static double slerp_formula(const struct sample *sample, size_t e,
			    double *scale)
{
	static const struct sample *last;
	static double of_base, of_other;
	unsigned base = (unsigned)sample->args.base;

	if (e == 0 || sample != last) {
		double t = value(sample, "slerp", "t", 0);
		long double length = sqrtl(dot(sample, 0, 0));
		long double other = sqrtl(dot(sample, 1, 1));
		double cosine = (double)(dot(sample, 0, 1) /
					 (length > 1e-8L ? length : 1) /
					 (other > 1e-8L ? other : 1));
		double angle = acos(cosine);
		bool flat = fabs(cosine) > 0.9995;

		of_base = flat ? 1 - t : sin((1 - t) * angle) / sin(angle);
		of_other = flat ? t : sin(t * angle) / sin(angle);
		last = sample;
	}
	double a = of_base * sample->in[base][e];
	double b = of_other * sample->in[1 - base][e];
	*scale = fabs(a) + fabs(b);
	return a + b;
}

static const struct {
	const char *name;
	formula_fn *formula;
} formulas[] = {
	{"linear", linear_formula},
	{"passthrough", passthrough_formula},
	{"slerp", slerp_formula},
	{"task_arithmetic", task_formula},
};

static void check_formula(const struct method *method, formula_fn *formula,
			  enum data data, size_t count, uint64_t seed)
{
	static float out[TILE];
	struct sample *sample = sample_new(method, data, count, seed);

	sample_gather(sample, method, false);
	for (size_t at = 0; at < count; at += TILE) {
		size_t n = count - at < TILE ? count - at : TILE;

		sample_blend(sample, method, at, n, out);
		for (size_t i = 0; i < n; i++) {
			double scale;
			double x = formula(sample, at + i, &scale);

			CHECK(fabs(out[i] - x) <= 6e-7 * scale + 0x1p-140);
		}
	}
	sample_free(sample);
}

static void test_formulas(void)
{
	uint64_t seed = 100;

	for (size_t i = 0; method_all()[i]; i++) {
		formula_fn *formula = NULL;

		for (size_t f = 0; f < sizeof(formulas) / sizeof(*formulas);
		     f++)
			if (!strcmp(formulas[f].name, method_all()[i]->name))
				formula = formulas[f].formula;
		for (enum data data = 0; formula && data < DATA_BROKEN; data++)
			for (int again = 0; again < 8; again++)
				check_formula(method_all()[i], formula, data,
					      again ? TILE + 33 : 7, seed++);
	}
}

/* One blend of a few elements of two or three inputs. */
static void check_case(const char *name, int base, unsigned n_inputs,
		       const double *values, const float (*rows)[4],
		       const float *expected, float slack)
{
	const struct method *method = method_find(name);
	struct sample *sample = sample_new(method, DATA_ZERO, 4, 1);
	float out[4];

	sample->args.n_inputs = n_inputs;
	sample->args.base = base;
	sample->args.values = values;
	for (unsigned i = 0; i < n_inputs; i++)
		memcpy(sample->rows[i], rows[i], sizeof(rows[i]));
	sample_gather(sample, method, false);
	sample_blend(sample, method, 0, 4, out);
	for (int e = 0; e < 4; e++)
		CHECK(fabsf(out[e] - expected[e]) <= slack);
	sample_free(sample);
}

/*
 * To the bit: the order of operations, where they are rounded, and the sign of
 * zeros. volatile keeps a compiler from joining them.
 */
typedef float exact_fn(const struct sample *sample, size_t e);

static float exact_linear(const struct sample *sample, size_t e)
{
	volatile float sum = 0, weights = 0;

	for (unsigned i = 0; i < sample->args.n_inputs; i++) {
		float weight = (float)value(sample, "linear", "weight", i);

		sum = fmaf(sample->in[i][e], weight, sum);
		weights = weights + weight;
	}
	return value(sample, "linear", "normalize", 0) ? sum / weights : sum;
}

static float exact_task(const struct sample *sample, size_t e)
{
	const char *name = "task_arithmetic";
	float base = sample->in[sample->args.base][e];
	float lambda = (float)value(sample, name, "lambda", 0);
	volatile float mix = 0, weights = 0;

	for (unsigned i = 0; i < sample->args.n_inputs; i++) {
		float weight = (float)value(sample, name, "weight", i);
		volatile float delta = sample->in[i][e] - base;
		volatile float part = delta * weight;
		if (i == (unsigned)sample->args.base)
			continue;

		mix = mix + part;
		weights = weights + weight;
	}
	if (value(sample, name, "normalize", 0) && fabsf(weights) >= 1e-8f)
		mix = mix / weights;
	if (lambda != 1)
		mix = mix * lambda;
	return base + mix;
}

static void check_exact(const char *name, exact_fn *exact, uint64_t seed)
{
	const struct method *method = method_find(name);
	struct sample *sample = sample_new(method, DATA_NEAR, TILE, seed);
	float out[TILE];

	for (size_t e = 0; e < TILE; e += 8)
		for (unsigned i = 0; i < sample->args.n_inputs; i++)
			sample->rows[i][e] = -0.0f;
	sample_blend(sample, method, 0, TILE, out);
	for (size_t e = 0; e < TILE; e++) {
		float wanted = exact(sample, e);

		CHECK(out[e] == wanted && !signbit(out[e]) == !signbit(wanted));
	}
	sample_free(sample);
}

static void test_roundings(void)
{
	for (uint64_t seed = 1000; seed < 1020; seed++) {
		check_exact("linear", exact_linear, seed);
		check_exact("task_arithmetic", exact_task, seed);
	}
}

/* Weights that cancel: not divided by. */
static void test_task_weights_cancel(void)
{
	const float rows[3][4] = {{1, 2, 3, 4}, {3, 2, 1, 0}, {0, 0, 1, 1}};

	check_case("task_arithmetic", 0, 3,
		   (double[]){0, 1, -1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0,
			      0, 0},
		   rows, (const float[]){4, 4, 3, 3}, 0);
}

/* A quarter turn, both orders; extrapolation; a zero tensor; antipodes. */
static void test_slerp_corners(void)
{
	const float turn[2][4] = {{2, 0, 0, 0}, {0, 2, 0, 0}};
	const float half = sqrtf(2);
	const float zero[2][4] = {{0, 0, 0, 0}, {3, 0, 0, 4}};
	const float opposite[2][4] = {{1, 2, 3, 4}, {-1, -2, -3, -4}};

	check_case("slerp", 0, 2, (double[]){0.5, 0.5}, turn,
		   (const float[]){half, half, 0, 0}, 2e-7f);
	check_case("slerp", 1, 2, (double[]){2, 2}, turn,
		   (const float[]){0, -2, 0, 0}, 2e-7f);
	check_case("slerp", 0, 2, (double[]){1.0 / 3, 1.0 / 3}, zero,
		   (const float[]){1.5f, 0, 0, 2}, 2e-7f);
	check_case("slerp", 0, 2, (double[]){0.25, 0.25}, opposite,
		   (const float[]){0.5f, 1, 1.5f, 2}, 2e-7f);
}

/* Directions that cancel, and vectors opposite each other. */
static void test_no_direction(void)
{
	const float cancel[4][4] = {
		{1, 0, 0, 0}, {-3, 0, 0, 0}, {0, 2, 0, 0}, {0, -2, 0, 0}};
	const float opposite[2][4] = {{1, 2, 3, 4}, {-1, -2, -3, -4}};

	check_case("multislerp", -1, 4,
		   (double[]){1, 1, 1, 1, 1, 1, 1, 1, 1e-8, 1e-8, 1e-8, 1e-8},
		   cancel, (const float[]){-0.5f, 0, 0, 0}, 0);
	check_case("karcher", -1, 2, (double[]){10, 10, 1e-5, 1e-5}, opposite,
		   (const float[]){1, 2, 3, 4}, 1e-6f);
	check_case("nuslerp", -1, 2, (double[]){0.75, 0.25, 1, 1, 0, 0},
		   opposite, (const float[]){0.5f, 1, 1.5f, 2}, 1e-6f);
}

static int by_size(const void *a, const void *b)
{
	float x = fabsf(*(const float *)a), y = fabsf(*(const float *)b);

	return (x > y) - (x < y);
}

static double find_fact(const struct sample *sample,
			const struct method *method, const char *name)
{
	struct method_fact fact;

	for (unsigned i = 0;
	     method->tell(&fact, i, sample->facts, &sample->args); i++)
		if (fact.name && !strcmp(fact.name, name))
			return fact.value;
	return NAN;
}

/* What is kept is scaled to the sum of all, gamma of the largest left out. */
static void check_rescaled(const char *name, double density, double gamma,
			   enum data data)
{
	static float delta[MAX_COUNT];
	const struct method *method = method_find(name);
	const size_t n = MAX_COUNT - 3;
	struct sample *sample = sample_new(method, data, n, 17);
	double before = 0, after = 0;

	sample->args.n_inputs = 2;
	sample->args.base = 0;
	sample->args.values = (double[]){1, 1, 1, density, 0, 0,     1,
					 1, 1, 1, 0,	   0, gamma, gamma};
	sample_gather(sample, method, false);
	for (size_t i = 0; i < n; i++)
		delta[i] = sample->in[1][i] - sample->in[0][i];
	qsort(delta, n, sizeof(*delta), by_size);
	size_t keep = (size_t)(density * (double)n);
	size_t end = n - (size_t)(gamma * (double)n);
	for (size_t i = 0; i < n; i++) {
		before += fabs(delta[i]);
		after += i < end && i + keep >= end ? fabs(delta[i]) : 0;
	}
	double factor = find_fact(sample, method, "rescaled by");
	CHECK(fabs(factor - before / after) <= 1e-6 * factor);
	CHECK(find_fact(sample, method, "elements kept") == (double)keep);
	sample_free(sample);
}

static void test_rescaled(void)
{
	static const double densities[] = {0.001, 0.2, 0.5, 0.9};

	for (enum data data = 0; data < DATA_BROKEN; data++) {
		if (data != DATA_EVEN && data != DATA_HEAVY_TAILS &&
		    data != DATA_NEAR)
			continue;
		for (int i = 0; i < 4; i++) {
			check_rescaled("ties", densities[i], 0, data);
			check_rescaled("breadcrumbs", densities[i], 0.01, data);
			check_rescaled("breadcrumbs_ties", densities[i], 0.1,
				       data);
		}
	}
}

/* One element in f32, step by step, with choices as they are said. */
typedef float steps_fn(const struct sample *sample, size_t e);

static float nearswap_steps(const struct sample *sample, size_t e)
{
	float base = sample->in[sample->args.base][e];
	float other = sample->in[1 - sample->args.base][e];
	float far = fabsf(base - other);
	float share = 1 / (far < 1e-6f ? 1e-6f : far) *
		      (float)arg_shared(&sample->args, 0);

	share = share < 0 ? 0 : share > 1 ? 1 : share;
	return share * other + (1 - share) * base;
}

/* Of three inputs. */
static float ram_steps(const struct sample *sample, size_t e)
{
	float epsilon = (float)arg_shared(&sample->args, 0), sum = 0;
	float base = sample->in[sample->args.base][e];
	int n = 0;

	for (unsigned i = 0; i < 3; i++)
		n += !(fabsf(sample->in[i][e] - base) <= epsilon);
	for (unsigned i = 0; i < 3; i++) {
		float delta = sample->in[i][e] - base;
		if (!(fabsf(delta) <= epsilon))
			sum += n > 1 ? delta / (float)n : delta;
	}
	return base + sum;
}

static void check_steps(const char *name, unsigned n_inputs, double param,
			steps_fn *steps)
{
	static float out[MAX_COUNT];
	const double values[] = {param, param, param};

	for (size_t i = 0; isa_all()[i]; i++)
		for (enum data data = 0; data < DATA_COUNT; data++) {
			size_t place = 0;
			while (method_all()[place] != method_find(name))
				place++;
			if (!isa_find(isa_all()[i]->name))
				continue;

			const struct method *method =
				isa_all()[i]->methods[place];
			struct sample *sample =
				sample_new(method, data, MAX_COUNT - 3, 23 + i);
			sample->args.n_inputs = n_inputs;
			sample->args.base = (int)(data % n_inputs);
			sample->args.values = values;
			sample_blend_all(sample, method, out);
			for (size_t e = 0; e < sample->args.count; e++) {
				float expected = steps(sample, e);

				CHECK(isnan(expected) ? isnan(out[e])
						      : out[e] == expected);
			}
			sample_free(sample);
		}
}

static void test_steps(void)
{
	static const double params[] = {0.001, 0.3, 2, 0, -0.1};

	for (int i = 0; i < 5; i++)
		check_steps("nearswap", 2, params[i], nearswap_steps);
	for (int i = 0; i < 4; i++)
		check_steps("ram", 3, params[i], ram_steps);
}

int main(void)
{
	test_steps();
	test_rescaled();
	test_no_direction();
	test_formulas();
	test_roundings();
	test_task_weights_cancel();
	test_slerp_corners();
	return 0;
}
