/*
 * The engine on real files: the same bytes whatever the number of threads, the
 * order of blocks and the instruction set; facts gathered once; a source that
 * changes is an error, never other bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/disk.h"
#include "merge/engine/engine.h"
#include "merge/engine/node.h"
#include "merge/engine/plan.h"
#include "merge/source/file.h"
#include "merge/source/tensor.h"
#include "tests/unit/check.h"

#define COUNT ((uint64_t)3 * 262144 + 12345) /* elements: a ragged end */
#define N_INPUTS 2

static char folder[] = "/tmp/test-engine-XXXXXX";

static char *in_folder(const char *name)
{
	char *path = NULL;

	CHECK(asprintf(&path, "%s/%s", folder, name) > 0);
	return path;
}

static void write_floats(const char *name, unsigned seed)
{
	AUTO_FREE char *path = in_folder(name);
	float *values = malloc(COUNT * sizeof(*values));
	FILE *out = fopen(path, "w");
	CHECK(values && out);
	for (uint64_t i = 0; i < COUNT; i++) {
		seed = seed * 1664525u + 1013904223u;
		values[i] = (float)(int)seed * 0x1p-31f;
	}
	CHECK(fwrite(values, sizeof(*values), COUNT, out) == COUNT);
	CHECK(fclose(out) == 0);
	free(values);
}

/* A merge of two files, as a plan of one tensor. */
struct world {
	struct file *files[N_INPUTS];
	struct tensor tensors[N_INPUTS];
	struct node *nodes[N_INPUTS];
	struct node *merge;
	struct output_tensor output;
	struct plan plan;
	struct pool *pool;
	struct block_cache *cache;
	struct engine *engine;
};

static void open_inputs(struct world *world)
{
	static const char *const names[N_INPUTS] = {"a", "b"};

	for (unsigned i = 0; i < N_INPUTS; i++) {
		AUTO_FREE char *path = in_folder(names[i]);
		CHECK(file_open(AT_FDCWD, path, path, NULL, &world->files[i],
				NULL) == 0);
		world->tensors[i] = (struct tensor){
			.name = (char *)names[i],
			.dtype = dtype_of(DTYPE_F32),
			.shape = {.rank = 1, .dims = {COUNT}},
			.count = COUNT,
			.file = world->files[i],
			.size = COUNT * 4,
		};
		CHECK(node_stored(&world->tensors[i], &world->nodes[i]) == 0);
	}
}

static void open_world(struct world *world, const char *method,
		       const double *values, const struct dtype *dtype,
		       unsigned n_threads, const struct isa *isa,
		       struct disk_cache *disk)
{
	*world = (struct world){0};
	open_inputs(world);
	CHECK(node_merge(method_find(method), world->nodes, N_INPUTS, 0, values,
			 &world->merge) == 0);
	world->output = (struct output_tensor){
		.name = "w",
		.dtype = dtype,
		.shape = world->merge->shape,
		.size = COUNT * (dtype->bits / 8),
		.node = world->merge,
		.digest = world->merge->digest,
	};
	world->plan = (struct plan){
		.tensors = &world->output,
		.n_tensors = 1,
		.scratch = world->merge->scratch,
		.n_leaves = world->merge->n_leaves,
	};
	CHECK(pool_new(n_threads, &world->pool) == 0);
	struct block_options blocks = {
		.memory = 8 << 20,
		.pool = world->pool,
	};
	CHECK(block_cache_new(&blocks, &world->cache) == 0);
	struct engine_options options = {
		.plan = &world->plan,
		.pool = world->pool,
		.cache = world->cache,
		.disk = disk,
		.isa = isa,
	};
	CHECK(engine_new(&options, &world->engine) == 0);
}

static void close_world(struct world *world)
{
	block_cache_free(world->cache);
	pool_free(world->pool);
	engine_free(world->engine);
	node_free(world->merge);
	for (unsigned i = 0; i < N_INPUTS; i++) {
		node_free(world->nodes[i]);
		file_close(world->files[i]);
	}
}

static int get(struct world *world, uint64_t number, unsigned char *data)
{
	struct block_request request;
	const struct block *block = NULL;

	engine_request(world->engine, &world->output, number, &request);
	int r = block_get(world->cache, &request, &block);
	if (r < 0)
		return r;
	memcpy(data + number * BLOCK_SIZE, block->data, block->size);
	block_put(world->cache, block);
	return 0;
}

/* All bytes, blocks taken in steps of `step` modulo their number. */
static unsigned char *read_all(struct world *world, uint64_t step)
{
	uint64_t n = engine_blocks(&world->output);
	unsigned char *data = malloc(world->output.size);
	CHECK(data);
	for (uint64_t i = 0; i < n; i++)
		CHECK(get(world, i * step % n, data) == 0);
	return data;
}

static const double linear_values[] = {0.3, 0.7, 1, 1};
static const double slerp_values[] = {0.3, 0.3};

static void test_same_bytes(const char *method, const double *values,
			    enum dtype_code code)
{
	struct world world;
	open_world(&world, method, values, dtype_of(code), 1, isa_all()[0],
		   NULL);
	unsigned char *first = read_all(&world, 1);
	uint64_t scans = world.merge->facts ? 1 : 0;
	CHECK(engine_scans(world.engine) == scans);
	close_world(&world);

	for (const struct isa *const *isa = isa_all(); *isa; isa++) {
		if (!isa_find((*isa)->name))
			continue;
		for (unsigned n_threads = 1; n_threads <= 7; n_threads += 3) {
			open_world(&world, method, values, dtype_of(code),
				   n_threads, *isa, NULL);
			/* A prime step visits every block, backwards too. */
			unsigned char *data = read_all(&world, 8191);
			CHECK(memcmp(first, data, world.output.size) == 0);
			free(data);
			close_world(&world);
		}
	}
	free(first);
}

static void test_facts_kept(void)
{
	struct world world;
	AUTO_FREE char *path = in_folder("cache");
	struct disk_options options = {.directory = path};
	AUTO(disk_cache) disk = NULL;
	CHECK(disk_cache_open(&options, &disk, NULL) == 0);

	for (uint64_t round = 0; round < 2; round++) {
		open_world(&world, "slerp", slerp_values, dtype_of(DTYPE_F32),
			   2, NULL, disk);
		free(read_all(&world, 1));
		CHECK(engine_scans(world.engine) == 1 - round);
		close_world(&world);
	}
}

static void test_changed_source(void)
{
	struct world world;
	open_world(&world, "linear", linear_values, dtype_of(DTYPE_F32), 2,
		   NULL, NULL);
	AUTO_FREE unsigned char *data = malloc(world.output.size);
	AUTO_FREE char *path = in_folder("b");
	CHECK(get(&world, 0, data) == 0);

	AUTO_CLOSE int fd = open(path, O_WRONLY);
	CHECK(fd >= 0);
	CHECK(pwrite(fd, "x", 1, 0) == 1);
	CHECK(get(&world, 1, data) == -ESTALE);
	CHECK(get(&world, 0, data) == 0); /* known before the change */
	CHECK(ftruncate(fd, 4096) == 0);
	int r = get(&world, 2, data);
	CHECK(r == -EIO || r == -ESTALE);
	close_world(&world);
	write_floats("b", 2);
}

int main(void)
{
	CHECK(mkdtemp(folder));
	write_floats("a", 1);
	write_floats("b", 2);
	test_same_bytes("linear", linear_values, DTYPE_F32);
	test_same_bytes("linear", linear_values, DTYPE_BF16);
	test_same_bytes("slerp", slerp_values, DTYPE_BF16);
	test_facts_kept();
	test_changed_source();
	AUTO_FREE char *command = NULL;
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
