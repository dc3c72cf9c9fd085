/*
 * Karcher mean on the sphere: the direction from which the angles to all inputs
 * balance, found by steps along the tangent space; with the mean of their
 * lengths. All steps are in the span of the unit vectors, so they are taken on
 * coefficients. (H. Karcher, Riemannian center of mass and mollifier smoothing,
 * 1977.)
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/angle.h"
#include "merge/kernels/gram.h"
#include "merge/methods/span.h"

enum {
	MAX_ITER,
	TOL,
};

static const struct method_param params[] = {
	[MAX_ITER] = {.name = "max_iter",
		      .summary = "most steps",
		      .type = PARAM_INT,
		      .value = 10,
		      .min = 0,
		      .max = 100000},
	[TOL] = {.name = "tol",
		 .summary = "a shorter step ends it; shorter inputs have no "
			    "direction",
		 .value = 1e-5,
		 .min = 0,
		 .max = 1},
	{},
};

static int karcher_copies(const struct method_args *args)
{
	return args->n_inputs == 1 ? 0 : -1;
}

/* The unit vectors that have a direction. */
struct units {
	unsigned n;
	const double *cosines; /* (n, n) */
	double tol;
};

static double product(const struct units *units, const double *a,
		      const double *b)
{
	double sum = 0;

	for (unsigned i = 0; i < units->n; i++)
		for (unsigned j = 0; j < units->n; j++)
			sum += a[i] * b[j] * units->cosines[i * units->n + j];
	return sum;
}

static double length(const struct units *units, const double *a)
{
	return sqrt(fmax(product(units, a, a), 0));
}

/* The step from mean towards the units; returns its length. */
static double find_step(const struct units *units, const double *mean,
			double *step)
{
	unsigned n = units->n;

	memset(step, 0, n * sizeof(*step));
	for (unsigned i = 0; i < n; i++) {
		double cosine = 0;
		for (unsigned j = 0; j < n; j++)
			cosine += mean[j] * units->cosines[i * n + j];
		cosine = fmax(-1, fmin(1, cosine));
		double angle = angle_acos(cosine);
		double sine = angle_sin(angle);
		/* Opposite the mean every direction is as good: none. */
		if (angle < units->tol || sine < 1e-9)
			continue;

		double factor = angle / sine / n;
		step[i] += factor;
		for (unsigned j = 0; j < n; j++)
			step[j] -= factor * cosine * mean[j];
	}
	return length(units, step);
}

static void find_mean(const struct units *units, double *mean, unsigned steps)
{
	unsigned n = units->n;
	double step[INPUTS_MOST];

	for (unsigned i = 0; i < n; i++)
		mean[i] = 1.0 / n;
	double size = length(units, mean);
	if (size < units->tol) {
		memset(mean, 0, n * sizeof(*mean));
		mean[0] = size = 1;
	}
	for (unsigned i = 0; i < n; i++)
		mean[i] /= size;

	for (unsigned s = 0; s < steps; s++) {
		double far = find_step(units, mean, step);
		if (!(far >= units->tol))
			return;
		double along = angle_sin(far + M_PI_2);
		double aside = angle_sin(far) / far;
		for (unsigned i = 0; i < n; i++)
			mean[i] = along * mean[i] + aside * step[i];
		size = length(units, mean);
		if (size > units->tol)
			for (unsigned i = 0; i < n; i++)
				mean[i] /= size;
	}
}

static void solve(double *coefs, const double *gram, unsigned n,
		  const struct method_args *args)
{
	double tol = arg_shared(args, TOL);
	double lengths[INPUTS_MOST], mean[INPUTS_MOST], size = 0;
	double cosines[INPUTS_MOST * INPUTS_MOST];
	unsigned places[INPUTS_MOST], n_units = 0;

	for (unsigned i = 0; i < n; i++) {
		lengths[i] = sqrt(gram[gram_index(n, i, i)]);
		size += lengths[i] / n;
		coefs[i] = 0;
		if (lengths[i] > tol || isnan(lengths[i]))
			places[n_units++] = i;
	}
	for (unsigned i = 0; i < n_units; i++)
		for (unsigned j = i; j < n_units; j++) {
			unsigned a = places[i], b = places[j];
			double cosine = gram[gram_index(n, a, b)] /
					(lengths[a] * lengths[b]);
			cosines[i * n_units + j] = cosine;
			cosines[j * n_units + i] = cosine;
		}
	struct units units = {.n = n_units, .cosines = cosines, .tol = tol};
	if (n_units == 0)
		return;
	find_mean(&units, mean, (unsigned)arg_shared(args, MAX_ITER));
	for (unsigned i = 0; i < n_units; i++)
		coefs[places[i]] = size * mean[i] / lengths[places[i]];
}

static const struct span_traits traits = {
	.solve = solve,
};

const struct method ISA_NAME(method_karcher) = {
	.name = "karcher",
	.title = "Karcher Mean",
	.url = "https://en.wikipedia.org/wiki/Karcher_mean",
	.summary = "mean direction on the sphere, all models alike",
	.formula = "mean length times the unit vector whose angles to all "
		   "x_i / |x_i| balance",
	.min_inputs = 1,
	.params = params,
	.traits = &traits,
	.copies = karcher_copies,
	SPAN_FUNCTIONS,
};
