#include "merge/recipe/resolve.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "merge/methods/method.h"
#include "tests/unit/check.h"

static struct recipe_file *parse(const char *text)
{
	struct recipe_file *file = NULL;
	struct error err = {""};
	if (recipe_parse(text, strlen(text), "r", false, &file, NULL, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(file);
	return file;
}

/* NAN: no level gives a value. */
static double value(const struct recipe_file *file, size_t slice,
		    const char *param, int source, const char *name, double t)
{
	const struct recipe *recipe = file->documents[0];
	const struct resolve_scope scope = {
		.recipe = recipe,
		.module = &recipe->modules[0],
		.slice = &recipe->modules[0].slices[slice],
	};
	const struct method *method = recipe->method;
	int place = method_param_find(method, param);
	CHECK(place >= 0);

	double result = -12345;
	int r = resolve(&scope, &method->params[place], source, name, t,
			&result, NULL);
	CHECK(r == 0 || r == -ENODATA);
	CHECK((r == 0) == (result != -12345));
	return r == 0 ? result : NAN;
}

static bool near(double a, double b)
{
	return fabs(a - b) < 5e-8;
}

static void check_gradient_by_filter(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: slerp\n"
		     "base_model: a\n"
		     "slices:\n"
		     "- sources: [{model: a, layer_range: [0, 40]}, {model: b, "
		     "layer_range: [0, 40]}]\n"
		     "parameters:\n"
		     "  t:\n"
		     "  - {filter: self_attn, value: [0, .5, .3, .7, 1]}\n"
		     "  - {filter: mlp, value: [1, .5, .7, .3, 0]}\n"
		     "  - {value: .5}\n");
	static const struct {
		unsigned layer;
		double attention, mlp;
	} rows[] = {
		{0, 0, 1},
		{10, .4948718, .5051282},
		{20, .3205128, .6794872},
		{39, 1, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		double t = rows[i].layer / 39.0;
		CHECK(near(value(file, 0, "t", -1, "x.self_attn.q_proj", t),
			   rows[i].attention));
		CHECK(near(value(file, 0, "t", -1, "x.mlp.up_proj", t),
			   rows[i].mlp));
		CHECK(value(file, 0, "t", -1, "x.input_layernorm", t) == .5);
	}
	CHECK(value(file, 0, "t", -1, "lm_head.weight", 0) == .5);
}

static void check_gradient(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "models:\n"
		     "- {model: a, parameters: {weight: [0, 0.3, 0.7, 1]}}\n"
		     "- {model: b, parameters: {weight: ['0', 1e0, true]}}\n"
		     "parameters: {normalize: [true, false, true]}\n");
	static const double of_a[] = {0, .225, .5, .775, 1};
	static const double of_b[] = {0, .5, 1, 1, 1};
	static const double normalize[] = {1, 1, 0, 0, 1};
	for (unsigned i = 0; i < 5; i++) {
		CHECK(near(value(file, 0, "weight", 0, "n", i / 4.0), of_a[i]));
		CHECK(near(value(file, 0, "weight", 1, "n", i / 4.0), of_b[i]));
		CHECK(value(file, 0, "normalize", -1, "n", i / 4.0) ==
		      normalize[i]);
	}
}

/* A filter in MergeKit's spelling, a name without what wraps it. */
static void check_spelling(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "models:\n"
		     "- {model: a, parameters: {weight: [{filter: "
		     "transformer.h.1., value: 2}, {value: 1}]}}\n"
		     "- {model: b, parameters: {weight: [{filter: "
		     "transformer., value: 2}, {value: 1}]}}\n");
	CHECK(value(file, 0, "weight", 0, "transformer.h.1.attn", 0) == 2);
	CHECK(value(file, 0, "weight", 0, "h.1.attn", 0) == 2);
	CHECK(value(file, 0, "weight", 0, "h.10.attn", 0) == 1);
	CHECK(value(file, 0, "weight", 0, "vision.h.1.attn", 0) == 1);
	CHECK(value(file, 0, "weight", 1, "h.1.attn", 0) == 1);
}

static void check_fall_through(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: task_arithmetic\n"
		     "base_model: base\n"
		     "models:\n"
		     "- {model: a, parameters: {weight: 1, density: [{filter: "
		     "mlp, value: 0.5}]}}\n"
		     "- {model: b, parameters: {weight: 1, density: []}}\n"
		     "parameters: {density: 0.2}\n");
	CHECK(value(file, 0, "density", 0, "l.mlp.up", 0) == .5);
	CHECK(value(file, 0, "density", 0, "l.norm", 0) == .2);
	CHECK(value(file, 0, "density", 1, "l.mlp.up", 0) == .2);
	CHECK(value(file, 0, "density", -1, "l.mlp.up", 0) == .2);

	AUTO(recipe_file)
	alone = parse("merge_method: task_arithmetic\n"
		      "base_model: base\n"
		      "models:\n"
		      "- {model: a, parameters: {weight: 1, density: {filter: "
		      "mlp, value: 0.5}}}\n");
	CHECK(value(alone, 0, "density", 0, "l.mlp.up", 0) == .5);
	CHECK(isnan(value(alone, 0, "density", 0, "l.norm", 0)));
	CHECK(isnan(value(alone, 0, "density", -1, "l.mlp.up", 0)));
}

static void check_levels(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "modules:\n"
		     "  default:\n"
		     "    parameters: {weight: [{filter: norm, value: .3}]}\n"
		     "    slices:\n"
		     "    - parameters: {weight: [{filter: mlp, value: .5}]}\n"
		     "      sources:\n"
		     "      - {model: a, layer_range: [0, 3], parameters: "
		     "{weight: [{filter: q_proj, value: .9}]}}\n"
		     "      - {model: b, layer_range: [0, 3]}\n"
		     "    - sources:\n"
		     "      - {model: a, layer_range: [3, 5]}\n"
		     "      - {model: b, layer_range: [3, 5], parameters: "
		     "{weight: 3}}\n"
		     "parameters: {weight: .1, normalize: [{filter: k_proj, "
		     "value: false}, {filter: '*', value: true}]}\n");
	CHECK(value(file, 0, "weight", 0, "q_proj", 0) == .9);
	CHECK(value(file, 0, "weight", 0, "mlp", 0) == .5);
	CHECK(value(file, 0, "weight", 0, "norm", 0) == .3);
	CHECK(value(file, 0, "weight", 0, "k_proj", 0) == .1);
	CHECK(value(file, 0, "weight", 1, "q_proj", 0) == .1);
	CHECK(value(file, 1, "weight", 0, "mlp", 0) == .1);
	CHECK(value(file, 1, "weight", 1, "mlp", 0) == 3);
	CHECK(value(file, 0, "normalize", -1, "k_proj", 0) == 0);
	CHECK(value(file, 0, "normalize", -1, "q_proj", 0) == 1);
	/* Filters tell capital letters from small ones. */
	CHECK(value(file, 0, "normalize", -1, "K_PROJ", 0) == 1);
}

/* Two places of one model have their own settings. */
static void check_twice(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "slices:\n"
		     "- sources:\n"
		     "  - {model: a, layer_range: [0, 2], parameters: "
		     "{weight: .3}}\n"
		     "  - {model: a, layer_range: [2, 4], parameters: "
		     "{weight: .7}}\n");
	CHECK(value(file, 0, "weight", 0, "n", 0) == .3);
	CHECK(value(file, 0, "weight", 1, "n", 0) == .7);
}

static void check_shared_under_model(void)
{
	AUTO(recipe_file)
	file = parse("merge_method: slerp\n"
		     "base_model: a\n"
		     "models:\n"
		     "- {model: a, parameters: {t: .9}}\n"
		     "- {model: b}\n"
		     "parameters: {t: .1}\n");
	CHECK(value(file, 0, "t", -1, "n", 0) == .1);
	CHECK(value(file, 0, "t", 0, "n", 0) == .1);
}

/* No built method has a parameter of whole numbers. */
static void check_whole(void)
{
	static const struct method_param steps = {
		.name = "weight",
		.type = PARAM_INT,
		.per_model = true,
	};
	AUTO(recipe_file)
	file = parse("merge_method: linear\n"
		     "models: [{model: a, parameters: {weight: [1, 4]}}]\n");
	const struct recipe *recipe = file->documents[0];
	const struct resolve_scope scope = {
		.recipe = recipe,
		.module = &recipe->modules[0],
		.slice = &recipe->modules[0].slices[0],
	};
	struct error err = {""};
	double result = 0;
	CHECK(resolve(&scope, &steps, 0, "n", 1, &result, &err) == 0);
	CHECK(result == 4);
	CHECK(resolve(&scope, &steps, 0, "n", .25, &result, &err) == -EINVAL);
	CHECK(result == 4);
	CHECK(strncmp(err.text, "r:2: the gradient of 'weight' gives 1.75",
		      40) == 0);
}

int main(void)
{
	check_gradient_by_filter();
	check_gradient();
	check_spelling();
	check_fall_through();
	check_levels();
	check_twice();
	check_shared_under_model();
	check_whole();
	return 0;
}
