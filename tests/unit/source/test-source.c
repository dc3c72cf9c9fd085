/*
 * Checkpoints in folders: shards, links, companions, the Hugging Face cache,
 * and files that change.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "merge/source/file.h"
#include "merge/source/locate.h"
#include "merge/source/source.h"
#include "tests/unit/check.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static char root[] = "/tmp/test-source-XXXXXX";

static char *at(const char *name)
{
	char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", root, name) > 0);
	return path;
}

static void make_folder(const char *name)
{
	AUTO_FREE char *path = at(name);

	for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
		*p = '/';
	}
	CHECK(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void put(const char *name, const void *data, size_t size)
{
	AUTO_FREE char *path = at(name);
	FILE *out = fopen(path, "w");

	CHECK(out && fwrite(data, 1, size, out) == size && fclose(out) == 0);
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

/* A file with one tensor of one byte. */
static void put_tensor(const char *name, const char *tensor)
{
	char file[512];
	int n = snprintf(file + 8, sizeof(file) - 8,
			 "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],"
			 "\"data_offsets\":[0,1]}}x",
			 tensor);

	memset(file, 0, 8);
	file[0] = (char)(n - 1);
	put(name, file, (size_t)n + 8);
}

static void make_model(const char *name)
{
	AUTO_FREE char *config = NULL;
	AUTO_FREE char *weights = NULL;

	make_folder(name);
	CHECK(asprintf(&config, "%s/config.json", name) > 0);
	CHECK(asprintf(&weights, "%s/model.safetensors", name) > 0);
	put_text(config, "{\"num_hidden_layers\": 1}");
	put_tensor(weights, "w");
}

static void remove_file(const char *name)
{
	AUTO_FREE char *path = at(name);

	CHECK(unlink(path) == 0);
}

static void link_to(const char *target, const char *name)
{
	AUTO_FREE char *path = at(name);

	unlink(path);
	CHECK(symlink(target, path) == 0);
}

/* Opens a folder; `words` are in the sentence when it must fail. */
static void try_open(const char *name, const char *words)
{
	AUTO_FREE char *path = at(name);
	AUTO(source) source = NULL;
	struct error err = {""};

	int r = source_open(path, "label", &source, &err);
	if (!words) {
		CHECK(r == 0 && source->n_tensors > 0);
		CHECK(source_find(source, source->tensors[0].name));
		CHECK(!source_find(source, "no such tensor"));
		return;
	}
	CHECK(r < 0 && !source);
	CHECK(strstr(err.text, words) && strstr(err.text, root));
}

static void test_folders(void)
{
	make_model("m");
	try_open("m", NULL);
	try_open("nowhere", "No such file");
	try_open("m/config.json", "not a directory");

	put_text("m/model.safetensors",
		 "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
	try_open("m", "git lfs pull");
	remove_file("m/model.safetensors");
	try_open("m", "no weights");
	put_text("m/pytorch_model.bin", "");
	try_open("m", "not an archive of PyTorch");
	remove_file("m/pytorch_model.bin");
	put_text("m/model.pt", "");
	try_open("m", "only pytorch_model.bin is read");
	remove_file("m/model.pt");
	put_text("m/pytorch_model.bin", "");
	put_tensor("m/weights.safetensors", "w");
	try_open("m", NULL); /* the only one there is */
	put_tensor("m/others.safetensors", "v");
	try_open("m", "several");

	make_folder("adapter");
	try_open("adapter", "no config.json");
	put_text("adapter/adapter_config.json",
		 "{\"base_model_name_or_path\": \"org/base\"}");
	try_open("adapter", "no config.json");
}

/* What an adapter is, and what it lacks. */
static void test_adapter(void)
{
	AUTO_FREE char *path = NULL, *base = NULL, *none = NULL;
	struct source *source = NULL;
	struct error err = {0};

	path = at("adapter");
	CHECK(source_adapter_base(path, &base, NULL) == 0);
	CHECK(strcmp(base, "org/base") == 0);
	CHECK(source_open_adapter(path, "a", &source, &err) == -ENOENT);
	CHECK(strstr(err.text, "no adapter_model.safetensors"));
	put_text("adapter/adapter_model.bin", "");
	CHECK(source_open_adapter(path, "a", &source, &err) == -EINVAL);
	CHECK(strstr(err.text, "not an archive of PyTorch"));
	put_tensor("adapter/adapter_model.safetensors", "x");
	CHECK(source_open_adapter(path, "a", &source, &err) == 0);
	CHECK(source_find(source, "x"));
	source_close(source);

	put_text("adapter/config.json", "{}");
	CHECK(source_adapter_base(path, &none, NULL) == 0);
	CHECK(!none);
}

static void put_index(const char *text)
{
	put_text("s/model.safetensors.index.json", text);
}

static void test_shards(void)
{
	make_model("s");
	remove_file("s/model.safetensors");
	put_tensor("s/one.safetensors", "a");
	put_tensor("s/two.safetensors", "b");
	put_index("{\"weight_map\": {\"a\": \"one.safetensors\", "
		  "\"b\": \"two.safetensors\"}}");
	try_open("s", NULL);

	/* The headers win: what the index leaves out is kept. */
	put_index("{\"weight_map\": {\"a\": \"one.safetensors\"}}");
	try_open("s", NULL);
	put_index("{\"weight_map\": {\"a\": \"two.safetensors\"}}");
	try_open("s", "tensor a is not in two.safetensors");
	put_index("{\"weight_map\": {\"a\": \"three.safetensors\"}}");
	try_open("s", "three.safetensors does not exist");
	put_index("{\"weight_map\": {\"a\": \"../m/others.safetensors\"}}");
	try_open("s", "out of the model's directory");
	put_index("{\"weight_map\": {\"a\": \"/etc/passwd\"}}");
	try_open("s", "out of the model's directory");
	put_index("{\"weight_map\": {\"a\": 7}}");
	try_open("s", "name of a shard");
	put_index("{\"weight_map\": []}");
	try_open("s", "no weight_map");

	put_tensor("s/two.safetensors", "a");
	put_index("{\"weight_map\": {\"a\": \"one.safetensors\", "
		  "\"b\": \"two.safetensors\"}}");
	try_open("s", "tensor a is in both");

	put_index("{\"weight_map\": {\"a\": \"one.safetensors\"}}");
	link_to("../m/others.safetensors", "s/one.safetensors");
	try_open("s", "link out of the model's directory");
	link_to("one.safetensors", "s/one.safetensors");
	try_open("s", "symbolic links");
	make_folder("s/folder");
	put_index("{\"weight_map\": {\"a\": \"folder\"}}");
	try_open("s", "not a regular file");
}

/* Finds a model as a recipe in `root` names it, and opens it. */
static void try_locate(const char *name, const char *revision,
		       const char *words)
{
	AUTO_FREE char *found = NULL;
	AUTO(source) source = NULL;
	struct error err = {""};

	int r = locate_model(name, revision, root, &found, &err);
	if (words) {
		CHECK(r == -ENOENT && strstr(err.text, words));
		return;
	}
	CHECK(r == 0);
	CHECK(source_open(found, name, &source, &err) == 0);
	CHECK(source->n_tensors == 1);
}

static void test_hub(void)
{
	AUTO_FREE char *home = at("home");
	AUTO_FREE char *hub = at("home/hub");

	make_folder("home/hub/models--org--tiny/refs");
	make_folder("home/hub/models--org--tiny/blobs");
	make_folder("home/hub/models--org--tiny/snapshots/" COMMIT);
	put_text("home/hub/models--org--tiny/refs/main", COMMIT);
	put_text("home/hub/models--org--tiny/blobs/c0", "{}");
	put_tensor("home/hub/models--org--tiny/blobs/w0", "w");
	link_to("../../blobs/c0",
		"home/hub/models--org--tiny/snapshots/" COMMIT "/config.json");
	link_to("../../blobs/w0", "home/hub/models--org--tiny/snapshots/" COMMIT
				  "/model.safetensors");

	unsetenv("HF_HUB_CACHE");
	unsetenv("HUGGINGFACE_HUB_CACHE");
	setenv("HF_HOME", home, 1);
	try_locate("org/tiny", NULL, NULL);
	try_locate("org/tiny", "main", NULL);
	try_locate("org/tiny", COMMIT, NULL);
	try_locate("org/tiny", "v2", "hf download org/tiny --revision v2");
	try_locate("org/absent", NULL, "hf download org/absent");
	try_locate("./org/tiny", NULL, "not found");
	setenv("HF_HOME", "/nowhere", 1);
	try_locate("org/tiny", NULL, "hf download");
	setenv("HF_HUB_CACHE", hub, 1);
	try_locate("org/tiny", NULL, NULL);

	/* A path beside the recipe wins. */
	make_model("org/tiny");
	remove_file("home/hub/models--org--tiny/refs/main");
	try_locate("org/tiny", NULL, NULL);
}

static void test_companions(void)
{
	static const char *const kept[] = {"1_Pooling/config.json", "custom.py",
					   "generation_config.json",
					   "tokenizer.json", "tokenizer.model"};
	static const char *const dropped[] = {
		"README.md", "picture.PNG",   "pytorch_model.bin",
		".hidden",   "x.safetensors", "mergekit_config.yml"};
	AUTO_FREE char *path = at("c");
	AUTO(source) source = NULL;
	struct companion *companions = NULL;
	struct notes notes = {0};
	size_t n = 0;

	make_model("c");
	make_folder("c/1_Pooling");
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		AUTO_FREE char *name = NULL;
		CHECK(asprintf(&name, "c/%s", kept[i]) > 0);
		put_text(name, "text");
	}
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++) {
		AUTO_FREE char *name = NULL;
		CHECK(asprintf(&name, "c/%s", dropped[i]) > 0);
		put_text(name, "text");
	}
	link_to("/etc/hostname", "c/outside.json");
	CHECK(source_open(path, "c", &source, NULL) == 0);
	CHECK(source_companions(source, &companions, &n, &notes, NULL) == 0);
	CHECK(n == ARRAY_SIZE(kept));
	for (size_t i = 0; i < n; i++)
		CHECK(strcmp(companions[i].path, kept[i]) == 0 &&
		      companions[i].file->size == 4);
	CHECK(notes.n_lines == 1 && strstr(notes.lines[0], "outside.json"));
	companions_free(companions, n);
	notes_done(&notes);
}

static void test_changes(void)
{
	AUTO_FREE char *path = at("file");
	AUTO(file) file = NULL;
	AUTO(file) again = NULL;
	char data[8];

	put_text("file", "12345678");
	CHECK(file_open(AT_FDCWD, path, path, NULL, &file, NULL) == 0);
	CHECK(file_read(file, 2, 4, data) == 0 && memcmp(data, "3456", 4) == 0);
	CHECK(file_open(AT_FDCWD, path, path, NULL, &again, NULL) == 0);
	CHECK(digest_equal(file->identity, again->identity));

	AUTO_CLOSE int fd = open(path, O_WRONLY);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	CHECK(file_check(file) == -ESTALE);
	CHECK(file_read(file, 2, 4, data) == -ESTALE);
	CHECK(ftruncate(fd, 3) == 0);
	CHECK(file_read(file, 2, 4, data) == -EIO);
	AUTO(file) changed = NULL;
	CHECK(file_open(AT_FDCWD, path, path, NULL, &changed, NULL) == 0);
	CHECK(!digest_equal(file->identity, changed->identity));
}

static void test_quantised(void)
{
	AUTO_FREE char *path = at("q");
	AUTO(source) source = NULL;
	AUTO(source) packed = NULL;

	make_model("q");
	CHECK(source_open(path, "q", &source, NULL) == 0);
	CHECK(!source_quantised(source));
	put_tensor("q/model.safetensors", "layer.qweight");
	CHECK(source_open(path, "q", &packed, NULL) == 0);
	CHECK(strcmp(source_quantised(packed), "layer.qweight") == 0);
}

int main(void)
{
	AUTO_FREE char *command = NULL;

	CHECK(mkdtemp(root));
	test_folders();
	test_adapter();
	test_shards();
	test_hub();
	test_companions();
	test_changes();
	test_quantised();
	CHECK(asprintf(&command, "rm -r %s", root) > 0);
	CHECK(system(command) == 0);
	return 0;
}
