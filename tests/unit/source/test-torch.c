/*
 * Archives of PyTorch: those that it wrote itself, some with a part of them
 * changed, one for each reason to refuse them.
 *
 * Usage: test-torch CORPUS
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "merge/source/file.h"
#include "merge/source/safetensors.h"
#include "merge/source/torch.h"
#include "tests/unit/check.h"

static const char *corpus;

static int read_file(const char *name, struct file **file,
		     struct safetensors *ret, struct error *err)
{
	AUTO_FREE char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", corpus, name) > 0);
	CHECK(file_open(AT_FDCWD, path, name, NULL, file, err) == 0);
	return torch_read(*file, ret, err);
}

static const struct tensor *find(const struct safetensors *tensors,
				 const char *name)
{
	for (size_t i = 0; i < tensors->n_tensors; i++) {
		if (strcmp(tensors->tensors[i].name, name) == 0)
			return &tensors->tensors[i];
	}
	return NULL;
}

static void check_floats(const struct file *file, const struct tensor *tensor,
			 const char *shape, float first)
{
	char found[192];
	float values[8];

	CHECK(tensor && tensor->dtype->code == DTYPE_F32);
	CHECK(strcmp(shape_format(&tensor->shape, found), shape) == 0);
	CHECK(tensor->size == 4 * tensor->count && tensor->count <= 8);
	CHECK(file_read(file, tensor->offset, tensor->size, values) == 0);
	for (size_t i = 0; i < tensor->count; i++)
		CHECK(values[i] == first + (float)i);
}

/* Each name of n, as "shape first name". */
struct expected {
	const char *name, *shape;
	float first;
};

static void check_file(const char *name, const struct expected *expected,
		       size_t n)
{
	AUTO(file) file = NULL;
	struct safetensors tensors = {0};
	struct error err;

	if (read_file(name, &file, &tensors, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		CHECK(!"refused");
	}
	CHECK(tensors.n_tensors == n);
	for (size_t i = 0; i < n; i++)
		check_floats(file, find(&tensors, expected[i].name),
			     expected[i].shape, expected[i].first);
	safetensors_done(&tensors);
}

static void test_files(void)
{
	static const struct expected plain[] = {{"a", "[2, 3]", 0},
						{"b", "[]", 7.5f}};
	static const struct expected state[] = {{"weight", "[2, 3]", 0},
						{"bias", "[2]", 1}};
	static const struct expected parameter[] = {{"w", "[2, 3]", 0}};

	check_file("plain.bin", plain, 2);
	check_file("repacked.bin", plain, 2);
	check_file("wrapped.bin", plain, 2);
	check_file("state-dict.bin", state, 2);
	check_file("parameter.bin", parameter, 1);
}

static void test_shared(void)
{
	AUTO(file) file = NULL;
	struct safetensors tensors = {0};

	CHECK(read_file("shared.bin", &file, &tensors, NULL) == 0);
	CHECK(tensors.n_tensors == 5);
	check_floats(file, find(&tensors, "again"), "[2, 3]", 0);
	check_floats(file, find(&tensors, "row"), "[3]", 3);
	check_floats(file, find(&tensors, "empty"), "[0, 4]", 0);
	CHECK(find(&tensors, "row")->offset ==
	      find(&tensors, "a")->offset + 3 * sizeof(float));
	safetensors_done(&tensors);
}

static void test_types(void)
{
	static const struct {
		const char *name;
		enum dtype_code code;
	} types[] = {
		{"float64", DTYPE_F64},	  {"float16", DTYPE_F16},
		{"bfloat16", DTYPE_BF16}, {"int64", DTYPE_I64},
		{"int32", DTYPE_I32},	  {"int16", DTYPE_I16},
		{"int8", DTYPE_I8},	  {"uint8", DTYPE_U8},
		{"bool", DTYPE_BOOL},
	};
	AUTO(file) file = NULL;
	struct safetensors tensors = {0};

	CHECK(read_file("types.bin", &file, &tensors, NULL) == 0);
	CHECK(tensors.n_tensors == ARRAY_SIZE(types));
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		const struct tensor *tensor = find(&tensors, types[i].name);
		CHECK(tensor && tensor->dtype->code == types[i].code);
		CHECK(tensor->size == 3 * tensor->dtype->bits / 8);
	}
	safetensors_done(&tensors);
}

static void check_refused(const char *name, const char *words)
{
	AUTO(file) file = NULL;
	struct safetensors tensors = {0};
	struct error err;

	CHECK(read_file(name, &file, &tensors, &err) == -EINVAL);
	if (strstr(err.text, words))
		return;
	fprintf(stderr, "%s\nwithout: %s\n", err.text, words);
	CHECK(!"another sentence");
}

static void test_refused(void)
{
	check_refused("bad-strides.bin", "tensor a: its elements do not lie");
	check_refused("bad-nested.bin", "more than tensors by name");
	check_refused("bad-number.bin", "more than tensors by name");
	check_refused("bad-list.bin", "more than tensors by name");
	check_refused("bad-complex.bin", "module 'torch'");
	check_refused("bad-legacy.bin", "not an archive of PyTorch 1.6");
	check_refused("bad-evil.bin", "wants Python's module 'posix'");
	check_refused("bad-compressed.bin", "compressed or encrypted");
	check_refused("bad-order.bin", "another byte order");
	check_refused("bad-short-storage.bin",
		      "tensor a: its bytes in the archive are not as many");
	check_refused("bad-no-storage.bin",
		      "tensor b: the archive does not have its bytes");
	check_refused("bad-no-pickle.bin", "without data.pkl");
	check_refused("bad-cut.bin", "it is cut short");
	check_refused("bad-pickle-cut.bin", "its pickle is damaged");
	check_refused("bad-memory.bin", "its pickle is damaged");
	check_refused("bad-mark.bin", "its pickle is damaged");
	check_refused("bad-rebuild.bin", "its pickle is damaged");
}

/* Every file that is cut anywhere is refused, and none is read beyond. */
static void test_cut(void)
{
	AUTO(file) file = NULL;
	struct safetensors tensors = {0};
	AUTO_FREE char *data = NULL;

	CHECK(read_file("plain.bin", &file, &tensors, NULL) == 0);
	safetensors_done(&tensors);
	CHECK(file_load(file, 1 << 20, &data, NULL) == 0);
	for (size_t size = 0; size < file->size; size++) {
		AUTO(file) cut = NULL;
		CHECK(file_of_bytes("cut", data, size, &cut, NULL) == 0);
		CHECK(torch_read(cut, &tensors, NULL) == -EINVAL);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	corpus = argv[1];
	test_files();
	test_shared();
	test_types();
	test_refused();
	test_cut();
	return 0;
}
