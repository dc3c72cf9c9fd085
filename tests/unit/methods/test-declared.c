/* What every method says about itself is complete and consistent. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "merge/kernels/isa.h"
#include "merge/methods/method.h"
#include "tests/unit/check.h"

static void check_params(const struct method *method)
{
	for (int i = 0; method->params[i].name; i++) {
		const struct method_param *param = &method->params[i];
		bool bounded = param->min != 0 || param->max != 0;

		CHECK(param->summary && *param->summary);
		CHECK(method_param_find(method, param->name) == i);
		CHECK(method_knows_param(param->name));
		CHECK(isfinite(param->value));
		CHECK(!param->required || param->value == 0);
		if (param->type == PARAM_BOOL)
			CHECK(param->value == 0 || param->value == 1);
		if (bounded)
			CHECK(param->min < param->max);
		if (bounded && !param->required)
			CHECK(param->min <= param->value &&
			      param->value <= param->max);
	}
	CHECK(method_param_find(method, "no_such") == -1);
}

static void check_method(const struct method *method)
{
	CHECK(method_find(method->name) == method);
	CHECK(method->title && method->summary && method->params);
	CHECK(method->min_inputs >= 1);
	CHECK(!method->max_inputs || method->max_inputs >= method->min_inputs);
	CHECK(method->blend);
	CHECK(method->formula && *method->formula);
	CHECK(!method->facts_size == !method->sizes);
	CHECK(!method->facts_size == !method->scan);
	CHECK(!method->facts_size == !method->fold);
	CHECK(!method->facts_size == !method->settle);
	CHECK(!method->facts_size == !method->tell);
	check_params(method);
}

/* Twenty are MergeKit's. */
static void test_names(void)
{
	size_t n = 0;

	for (size_t i = 0; method_all()[i]; i++, n++)
		check_method(method_all()[i]);
	CHECK(n >= 20);
	CHECK(!method_find("Linear"));
	CHECK(!method_knows_param("weights"));
}

/* The tables of all instruction sets have the same methods. */
static void test_tables(void)
{
	for (size_t i = 0; isa_all()[i]; i++) {
		const struct method *const *methods = isa_all()[i]->methods;
		size_t n = 0;

		for (; method_all()[n]; n++)
			CHECK(strcmp(methods[n]->name, method_all()[n]->name) ==
			      0);
		CHECK(!methods[n]);
	}
}

static void test_choice_of_set(void)
{
	unsetenv("MKFS_MOUNT_ISA");
	const struct isa *best = isa_best();
	CHECK(best && isa_find(best->name) == best);
	CHECK(strcmp(isa_all()[0]->name, "base") == 0);
	CHECK(!isa_find("no such set"));

	setenv("MKFS_MOUNT_ISA", "base", 1);
	CHECK(isa_best() == isa_all()[0]);
	setenv("MKFS_MOUNT_ISA", "no such set", 1);
	CHECK(isa_best() == best);
}

int main(void)
{
	test_names();
	test_tables();
	test_choice_of_set();
	return 0;
}
