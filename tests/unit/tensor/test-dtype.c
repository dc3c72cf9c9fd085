#include "merge/tensor/dtype.h"

#include <string.h>

#include "tests/unit/check.h"

static const struct dtype *of(const char *name)
{
	const struct dtype *dtype = dtype_find(name);

	CHECK(dtype);
	return dtype;
}

static void test_rows_are_complete(void)
{
	for (enum dtype_code code = 0; code < DTYPE_COUNT; code++) {
		const struct dtype *dtype = dtype_of(code);

		CHECK(dtype->code == code);
		CHECK(dtype->bits > 0);
		CHECK(dtype_find(dtype->name) == dtype);
		if (dtype->torch)
			CHECK(dtype_find_torch(dtype->torch) == dtype);
	}
}

static void test_names(void)
{
	CHECK(of("BF16")->bits == 16);
	CHECK(of("F6_E3M2")->bits == 6);
	CHECK(of("C64")->bits == 64);
	CHECK(!dtype_find("bf16"));
	CHECK(!dtype_find("BF160"));
	CHECK(!dtype_find(""));

	CHECK(dtype_find_torch("bfloat16") == of("BF16"));
	CHECK(dtype_find_torch("torch.float8_e4m3fn") == of("F8_E4M3"));
	CHECK(!dtype_find_torch("torch.torch.float32"));
	CHECK(!dtype_find_torch("BF16"));
	CHECK(!dtype_find_torch("torch."));
}

static void test_only_floats_are_mergeable(void)
{
	unsigned n = 0;

	for (enum dtype_code code = 0; code < DTYPE_COUNT; code++)
		n += dtype_of(code)->mergeable;
	CHECK(n == 4);
	CHECK(of("F64")->mergeable && of("F32")->mergeable);
	CHECK(of("BF16")->mergeable && of("F16")->mergeable);
}

static void test_promote(void)
{
	static const char *const cases[][3] = {
		{"BF16", "BF16", "BF16"}, {"BF16", "F16", "F32"},
		{"F16", "F16", "F16"},	  {"BF16", "F32", "F32"},
		{"F16", "F64", "F64"},	  {"F32", "F64", "F64"},
		{"I64", "I64", "I64"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct dtype *a = of(cases[i][0]);
		const struct dtype *b = of(cases[i][1]);

		CHECK(dtype_promote(a, b) == of(cases[i][2]));
		CHECK(dtype_promote(b, a) == of(cases[i][2]));
	}
	CHECK(!dtype_promote(of("I64"), of("F32")));
	CHECK(!dtype_promote(of("F32"), of("F8_E4M3")));
}

int main(void)
{
	test_rows_are_complete();
	test_names();
	test_only_floats_are_mergeable();
	test_promote();
	return 0;
}
