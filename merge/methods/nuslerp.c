/*
 * Spherical interpolation of two models, or of their task vectors: whole
 * tensors, rows, or columns as the vectors.
 */
#include <math.h>
#include <string.h>

#include "merge/kernels/angle.h"
#include "merge/kernels/gram.h"
#include "merge/kernels/rows.h"
#include "merge/methods/gather.h"
#include "merge/methods/span.h"

/* A shorter vector is divided by this length. */
#define SHORT 1e-7

/* Parallel or opposite: there is no plane to turn in, so the sum is linear. */
#define NO_PLANE 1e-6

enum {
	WEIGHT,
	NUSLERP_FLATTEN,
	NUSLERP_ROW_WISE,
};

static const struct method_param params[] = {
	[WEIGHT] = {.name = "weight",
		    .summary = "share of this model; the base has none",
		    .per_model = true,
		    .required = true},
	[NUSLERP_FLATTEN] = {.name = "nuslerp_flatten",
			     .summary = "the whole tensor is one vector",
			     .type = PARAM_BOOL,
			     .value = 1},
	[NUSLERP_ROW_WISE] = {.name = "nuslerp_row_wise",
			      .summary = "not flat: columns are the vectors, "
					 "not rows",
			      .type = PARAM_BOOL},
	{},
};

static bool by_rows(const struct method_args *args)
{
	return !arg_shared(args, NUSLERP_FLATTEN) &&
	       !arg_shared(args, NUSLERP_ROW_WISE);
}

/* The share of the second vector. */
static double find_share(const struct method_args *args)
{
	double first = arg_of(args, WEIGHT, span_input(args, 0));
	double second = arg_of(args, WEIGHT, span_input(args, 1));

	return fabs(first + second) < 1e-6 ? 0.5 : second / (first + second);
}

static double length(double square)
{
	return fmax(sqrt(square), SHORT);
}

static void interpolate(double *coefs, double xx, double xy, double yy,
			double t)
{
	double cosine = xy / (length(xx) * length(yy));
	double angle = angle_acos(cosine < -1 ? -1 : cosine > 1 ? 1 : cosine);
	double sine = angle_sin(angle);

	coefs[0] = 1 - t;
	coefs[1] = t;
	if (fabs(sine) < NO_PLANE)
		return;
	coefs[0] = angle_sin((1 - t) * angle) / sine;
	coefs[1] = angle_sin(t * angle) / sine;
}

static void solve(double *coefs, const double *gram, unsigned n,
		  const struct method_args *args)
{
	(void)n;

	interpolate(coefs, gram[0], gram[1], gram[2], find_share(args));
}

static const struct span_traits traits = {
	.from_base = true,
	.solve = solve,
	.by_rows = by_rows,
};

/*
 * Columns: vectors along the first dimension, so that element i belongs to
 * column i % stride. A part has the three dot products of every column; facts
 * are the two coefficients, (stride,) each.
 */
static bool by_columns(const struct method_args *args)
{
	return !arg_shared(args, NUSLERP_FLATTEN) &&
	       arg_shared(args, NUSLERP_ROW_WISE);
}

static bool nuslerp_takes_halves(const struct method_args *args)
{
	return !by_columns(args);
}

/* The two vectors of n elements, in place of the inputs. */
static void make_vectors(float **vectors, float *const *in, size_t n,
			 const struct method_args *args)
{
	for (unsigned i = 0; i < 2; i++) {
		vectors[i] = in[span_input(args, i)];
		if (span_from_base(args))
			row_subtract(vectors[i], in[args->base], n);
	}
}

static size_t nuslerp_facts_size(const struct method_args *args)
{
	return by_columns(args) ? 2 * args->stride * sizeof(double)
				: span_facts_size(args);
}

static struct method_sizes nuslerp_sizes(unsigned pass,
					 const struct method_args *args)
{
	size_t size = 3 * args->stride * sizeof(double);

	return by_columns(args)
		       ? (struct method_sizes){.part = size, .sum = size}
		       : span_sizes(pass, args);
}

static void add_products(double *restrict xx, double *restrict xy,
			 double *restrict yy, const float *restrict x,
			 const float *restrict y, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		xx[i] += (double)x[i] * x[i];
		xy[i] += (double)x[i] * y[i];
		yy[i] += (double)y[i] * y[i];
	}
}

static void nuslerp_scan(const struct method_scan *scan,
			 const struct method_args *args)
{
	uint64_t stride = args->stride;
	double *xx = scan->part, *xy = xx + stride, *yy = xy + stride;
	float *vectors[2];
	if (!by_columns(args)) {
		span_scan(scan, args);
		return;
	}

	make_vectors(vectors, scan->in, scan->n, args);
	for (size_t at = 0; at < scan->n;) {
		uint64_t column = (scan->first + at) % stride;
		size_t n = scan->n - at;
		if (n > stride - column)
			n = stride - column;
		add_products(xx + column, xy + column, yy + column,
			     vectors[0] + at, vectors[1] + at, n);
		at += n;
	}
}

static void nuslerp_fold(void *sum, const void *part, unsigned pass,
			 const void *facts, const struct method_args *args)
{
	if (by_columns(args))
		add_doubles(sum, part, 3 * args->stride);
	else
		span_fold(sum, part, pass, facts, args);
}

static unsigned nuslerp_settle(void *facts, unsigned pass, const void *sum,
			       const struct method_args *args)
{
	uint64_t stride = args->stride;
	const double *xx = sum, *xy = xx + stride, *yy = xy + stride;
	double *first = facts, *second = first + stride;
	if (!by_columns(args))
		return span_settle(facts, pass, sum, args);

	double t = find_share(args);
	for (uint64_t i = 0; i < stride; i++) {
		double coefs[2];

		interpolate(coefs, xx[i], xy[i], yy[i], t);
		first[i] = coefs[0];
		second[i] = coefs[1];
	}
	plain_doubles(facts, 2 * stride);
	return 0;
}

static bool nuslerp_tell(struct method_fact *ret, unsigned i, const void *facts,
			 const struct method_args *args)
{
	return !by_columns(args) && span_tell(ret, i, facts, args);
}

/* In f64, as terms may cancel. */
static void add_columns(float *restrict out, const float *restrict x,
			const float *restrict y, const double *restrict of_x,
			const double *restrict of_y, size_t n)
{
	for (size_t i = 0; i < n; i++)
		out[i] = (float)(out[i] + x[i] * of_x[i] + y[i] * of_y[i]);
}

static void nuslerp_blend(float *out, float *const *in, uint64_t first,
			  size_t n, const struct method_args *args,
			  const void *facts)
{
	const double *of_x = facts;
	float *vectors[2];
	if (!by_columns(args)) {
		span_blend(out, in, first, n, args, facts);
		return;
	}

	make_vectors(vectors, in, n, args);
	if (span_from_base(args))
		memcpy(out, in[args->base], n * sizeof(*out));
	else
		memset(out, 0, n * sizeof(*out));
	for (size_t at = 0; at < n;) {
		uint64_t column = (first + at) % args->stride;
		size_t now = n - at;
		if (now > args->stride - column)
			now = args->stride - column;
		add_columns(out + at, vectors[0] + at, vectors[1] + at,
			    of_x + column, of_x + args->stride + column, now);
		at += now;
	}
}

const struct method ISA_NAME(method_nuslerp) = {
	.name = "nuslerp",
	.title = "NuSLERP",
	.summary = "spherical interpolation by weights, also of task vectors",
	.formula = "(base +) sin((1-t) a) / sin a * x_1 + sin(t a) / sin a * "
		   "x_2, a the angle between them, t = w_2 / (w_1 + w_2); x_i "
		   "task vectors where there is a base",
	.base = BASE_OPTIONAL,
	.min_inputs = 2,
	.max_inputs = 2,
	.params = params,
	.traits = &traits,
	.by_rows = by_rows,
	.takes_halves = nuslerp_takes_halves,
	.facts_size = nuslerp_facts_size,
	.sizes = nuslerp_sizes,
	.scan = nuslerp_scan,
	.fold = nuslerp_fold,
	.settle = nuslerp_settle,
	.tell = nuslerp_tell,
	.blend = nuslerp_blend,
};
