/*
 * A small merge from recipe to bytes: any range of any file is that slice of
 * the whole; sizes and times are known beforehand; prefetching changes nothing.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/engine/engine.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "tests/unit/check.h"

#define WIDTH 1200 /* of the matrix: it has several blocks */
#define ROWS 1000

static char folder[] = "/tmp/test-read-XXXXXX";

static FILE *create(const char *name)
{
	AUTO_FREE char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
	FILE *out = fopen(path, "w");
	CHECK(out);
	return out;
}

static void write_model(const char *name, unsigned seed)
{
	AUTO_FREE char *path = NULL;
	AUTO_FREE char *header = NULL;
	size_t size = (size_t)WIDTH * ROWS * 2;
	CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
	CHECK(mkdir(path, 0700) == 0);

	free(path);
	CHECK(asprintf(&path, "%s/config.json", name) > 0);
	FILE *out = create(path);
	fputs("{\"num_hidden_layers\": 1}", out);
	CHECK(fclose(out) == 0);

	free(path);
	CHECK(asprintf(&path, "%s/tokenizer.json", name) > 0);
	out = create(path);
	fputs("{}\n", out);
	CHECK(fclose(out) == 0);

	free(path);
	CHECK(asprintf(&path, "%s/model.safetensors", name) > 0);
	int n = asprintf(&header,
			 "{\"model.layers.0.w\":{\"dtype\":\"BF16\",\"shape\":"
			 "[%d,%d],\"data_offsets\":[0,%zu]},"
			 "\"norm\":{\"dtype\":\"BF16\",\"shape\":[3],"
			 "\"data_offsets\":[%zu,%zu]},"
			 "\"steps\":{\"dtype\":\"I64\",\"shape\":[1],"
			 "\"data_offsets\":[%zu,%zu]}}",
			 ROWS, WIDTH, size, size, size + 6, size + 6,
			 size + 14);
	CHECK(n > 0);
	out = create(path);
	uint64_t length = (uint64_t)n;
	fwrite(&length, 8, 1, out);
	fwrite(header, 1, length, out);
	for (size_t i = 0; i < size / 2 + 7; i++) {
		seed = seed * 1664525u + 1013904223u;
		/* Small exponents, so that no value is Inf or NaN. */
		uint16_t value = (uint16_t)(seed >> 16) & 0xbfff;
		fwrite(&value, 2, 1, out);
	}
	CHECK(fclose(out) == 0);
}

static void write_recipe(void)
{
	FILE *out = create("recipe.yaml");

	fputs("merge_method: slerp\nbase_model: a\n"
	      "models: [{model: a}, {model: b}]\nparameters: {t: 0.3}\n",
	      out);
	CHECK(fclose(out) == 0);
}

static struct merge *start(uint64_t shard_size)
{
	AUTO_FREE char *path = NULL;
	struct merge *merge = NULL;
	struct error err = {""};

	CHECK(asprintf(&path, "%s/recipe.yaml", folder) > 0);
	struct merge_options options = {
		.recipe = path,
		.cache = "none",
		.shard_size = shard_size,
		.threads = 3,
	};
	CHECK(merge_open(&options, &merge, &err) == 0);
	CHECK(merge_start(merge, &err) == 0);
	return merge;
}

static void check_ranges(struct merge *merge, uint32_t entry, uint64_t size)
{
	AUTO_FREE unsigned char *whole = malloc(size + 1);
	AUTO_FREE unsigned char *part = malloc(size + 1);
	unsigned seed = 7;
	CHECK(whole && part);
	CHECK(image_read_sync(merge->image, merge->engine, entry, 0, size,
			      whole) == 0);
	for (unsigned i = 0; i < 300; i++) {
		seed = seed * 1664525u + 1013904223u;
		uint64_t offset = (seed >> 4) % (size + 1);
		seed = seed * 1664525u + 1013904223u;
		uint64_t most = i % 3 ? 5000 : size;
		uint64_t n = (seed >> 4) % (most + 1);
		if (n > size - offset)
			n = size - offset;
		if (i % 7 == 0)
			image_prefetch(merge->image, merge->engine, entry,
				       offset, 3 << 20);
		CHECK(image_read_sync(merge->image, merge->engine, entry,
				      offset, n, part) == 0);
		CHECK(memcmp(part, whole + offset, n) == 0);
	}
}

static void test_ranges(uint64_t shard_size, unsigned shards)
{
	struct merge *merge = start(shard_size);
	uint32_t n;
	const struct image_entry *entries = image_entries(merge->image, &n);
	uint64_t total = 0;
	unsigned found = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (entries[i].directory)
			continue;
		total += entries[i].size;
		found += strstr(entries[i].name, ".safetensors") != NULL &&
			 !strstr(entries[i].name, ".json");
		check_ranges(merge, i, entries[i].size);
	}
	CHECK(found == shards);
	CHECK(total == image_size(merge->image));
	CHECK(engine_scans(merge->engine) == 2); /* the matrix and the norm */
	CHECK(image_lookup(merge->image, 0, "tokenizer.json"));
	CHECK(image_lookup(merge->image, 0, "config.json"));
	CHECK(!image_lookup(merge->image, 0, "nothing"));
	merge_close(merge);
}

int main(void)
{
	CHECK(mkdtemp(folder));
	write_model("a", 1);
	write_model("b", 2);
	write_recipe();
	test_ranges(0, 1);
	test_ranges(100, 2);
	AUTO_FREE char *command = NULL;
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
