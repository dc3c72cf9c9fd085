#include "merge/output/config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/engine/plan.h"
#include "merge/methods/method.h"
#include "merge/recipe/recipe.h"
#include "tests/unit/check.h"

static const struct method merging = {
	.name = "task_arithmetic",
	.title = "Task Arithmetic",
	.url = "https://arxiv.org/abs/2212.04089",
	.base = BASE_REQUIRED,
};

static const struct method stacking = {
	.name = "passthrough",
	.title = "Passthrough",
};

static char *card(struct recipe *recipe, const char *yaml, const char *title)
{
	struct recipe *documents[] = {recipe};
	struct recipe_file file = {
		.path = "/nonexistent/recipe.yaml",
		.text = (char *)yaml,
		.size = strlen(yaml),
		.documents = documents,
		.n_documents = 1,
	};
	struct plan plan = {.recipe = recipe, .recipe_file = &file};
	char *text = NULL;

	recipe->path = file.path;
	CHECK(card_text(&plan, title, &text) == 0);
	return text;
}

static char *card_of(struct recipe_source *sources, size_t n, const char *yaml)
{
	struct recipe_slice slice = {.sources = sources, .n_sources = n};
	struct recipe_module module = {.slices = &slice, .n_slices = 1};
	struct recipe recipe = {
		.method = &stacking,
		.modules = &module,
		.n_modules = 1,
	};

	return card(&recipe, yaml, "t");
}

static void test_whole(void)
{
	struct recipe_source sources[] = {
		{.model = {.path = "org/one", .line = 2}},
		{.model = {.path = "org/two",
			   .revision = "v1",
			   .lora = "org/adapter",
			   .line = 3}},
		{.model = {.path = "../local", .line = 4}},
		{.model = {.path = "org/one", .line = 5}},
	};
	struct recipe_slice slice = {.sources = sources, .n_sources = 4};
	struct recipe_module module = {.slices = &slice, .n_slices = 1};
	struct recipe recipe = {
		.method = &merging,
		.modules = &module,
		.n_modules = 1,
		.base = {.path = "org/base", .line = 7},
	};
	AUTO_FREE char *text = card(&recipe, "models: []", "mine");

	CHECK(strcmp(text,
		     "---\n"
		     "base_model:\n"
		     "- org/one\n"
		     "- org/two\n"
		     "- org/adapter\n"
		     "- org/base\n"
		     "library_name: transformers\n"
		     "tags:\n"
		     "- mergekit\n"
		     "- merge\n"
		     "---\n"
		     "# mine\n"
		     "\n"
		     "A merge of pretrained language models, described by a "
		     "recipe of "
		     "[mergekit](https://github.com/arcee-ai/mergekit).\n"
		     "The files of this directory were computed from the "
		     "recipe and the models below by mkfs-mount.\n"
		     "\n"
		     "## Merge Details\n"
		     "\n"
		     "### Merge Method\n"
		     "\n"
		     "This model was merged with the [Task Arithmetic]"
		     "(https://arxiv.org/abs/2212.04089) merge method, with "
		     "[org/base](https://huggingface.co/org/base) as the "
		     "base.\n"
		     "\n"
		     "### Models Merged\n"
		     "\n"
		     "These models went into the merge:\n"
		     "\n"
		     "* [org/one](https://huggingface.co/org/one)\n"
		     "* [org/two](https://huggingface.co/org/two) at `v1` + "
		     "[org/adapter](https://huggingface.co/org/adapter)\n"
		     "* `../local`\n"
		     "* [org/base](https://huggingface.co/org/base)\n"
		     "\n"
		     "### Configuration\n"
		     "\n"
		     "This YAML recipe produced the model:\n"
		     "\n"
		     "```yaml\n"
		     "models: []\n"
		     "```\n") == 0);
}

/* Only names that can be on the hub, and are not here, are called so. */
static void test_ids(void)
{
	rmdir("test-card-here"); /* of a run that was cut short */
	CHECK(mkdir("test-card-here", 0777) == 0);
	struct recipe_source sources[] = {
		{.model = {.path = "/abs/path"}},
		{.model = {.path = "~/path"}},
		{.model = {.path = "./path"}},
		{.model = {.path = "a/b/c"}},
		{.model = {.path = "ends/"}},
		{.model = {.path = "with space/x"}},
		{.model = {.path = "test-card-here"}},
		{.model = {.path = "123"}},
		{.model = {.path = ""}},
	};
	AUTO_FREE char *text = card_of(sources, ARRAY_SIZE(sources), "a: 1\n");
	CHECK(rmdir("test-card-here") == 0);

	CHECK(strstr(text, "---\nbase_model:\n- '123'\nlibrary_name"));
	CHECK(strstr(text, "* `test-card-here`\n"));
	CHECK(strstr(text, "* `with space/x`\n"));
	CHECK(strstr(text, "the Passthrough merge method.\n"));
}

static void test_hostile(void)
{
	struct recipe_source sources[] = {
		{.model = {.path = "a`b\n---\n"}},
	};
	AUTO_FREE char *text = card_of(sources, 1, "x: |\n  ```\n  ````yaml\n");

	CHECK(strncmp(text, "---\nbase_model: []\n", 19) == 0);
	CHECK(strstr(text, "* `` a`b?---? ``\n"));
	CHECK(strstr(text, "\n`````yaml\nx: |\n  ```\n  ````yaml\n`````\n"));
}

/* Models of one document that another one makes are not models of ours. */
static void test_documents(void)
{
	struct recipe_source given = {.model = {.path = "org/in", .line = 2}};
	struct recipe_source made = {.model = {.path = "half", .line = 6}};
	struct recipe_slice slices[] = {
		{.sources = &given, .n_sources = 1},
		{.sources = &made, .n_sources = 1},
	};
	struct recipe_module modules[] = {
		{.slices = &slices[0], .n_slices = 1},
		{.slices = &slices[1], .n_slices = 1},
	};
	struct recipe first = {.name = "half",
			       .method = &stacking,
			       .modules = &modules[0],
			       .n_modules = 1};
	struct recipe last = {
		.method = &stacking, .modules = &modules[1], .n_modules = 1};
	struct recipe *documents[] = {&first, &last};
	struct recipe_file file = {.path = "recipe.yaml",
				   .text = "",
				   .documents = documents,
				   .n_documents = 2};
	struct plan plan = {.recipe = &last, .recipe_file = &file};
	AUTO_FREE char *text = NULL;

	CHECK(card_text(&plan, NULL, &text) == 0);
	CHECK(strstr(text, "base_model:\n- org/in\nlibrary_name"));
	CHECK(strstr(text, "\n# Merged model\n"));
	CHECK(!strstr(text, "half"));
}

int main(void)
{
	test_whole();
	test_ids();
	test_hostile();
	test_documents();
	return 0;
}
