#include "merge/output/config.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "merge/engine/plan.h"
#include "merge/methods/method.h"
#include "merge/recipe/recipe.h"
#include "util/text.h"

#define PROGRAM "https://github.com/arcee-ai/mergekit"

/* Every model that the recipe names, once, in document order. */
struct models {
	const struct model_ref *
		*refs; /* (n,) owned, what they point at is not */
	size_t n, room;
};

static bool is_document(const struct recipe_file *file, const char *path)
{
	for (size_t i = 0; i < file->n_documents; i++) {
		const char *name = file->documents[i]->name;
		if (name && strcmp(name, path) == 0)
			return true;
	}
	return false;
}

static int add_model(struct models *models, const struct recipe_file *file,
		     const struct model_ref *ref)
{
	if (!ref->path || is_document(file, ref->path))
		return 0;
	if (models->n == models->room) {
		size_t room = models->room ? 2 * models->room : 8;
		void *refs =
			reallocarray(models->refs, room, sizeof(*models->refs));
		if (!refs)
			return -ENOMEM;
		models->refs = refs;
		models->room = room;
	}
	models->refs[models->n++] = ref;
	return 0;
}

static int add_slice(struct models *models, const struct recipe_file *file,
		     const struct recipe_slice *slice)
{
	int r = add_model(models, file, &slice->base);

	for (size_t i = 0; r == 0 && i < slice->n_sources; i++)
		r = add_model(models, file, &slice->sources[i].model);
	return r;
}

static int add_document(struct models *models, const struct recipe_file *file,
			const struct recipe *recipe)
{
	int r = add_model(models, file, &recipe->base);

	for (size_t i = 0; i < recipe->n_modules; i++) {
		const struct recipe_module *module = &recipe->modules[i];
		for (size_t j = 0; r == 0 && j < module->n_slices; j++)
			r = add_slice(models, file, &module->slices[j]);
	}
	return r;
}

/* Insertion sort: stable, and nearly always there is nothing to do. */
static void sort_by_line(struct models *models)
{
	for (size_t i = 1; i < models->n; i++) {
		const struct model_ref *ref = models->refs[i];
		size_t j = i;
		for (; j > 0 && models->refs[j - 1]->line > ref->line; j--)
			models->refs[j] = models->refs[j - 1];
		models->refs[j] = ref;
	}
}

static void drop_repeated(struct models *models)
{
	size_t n = 0;

	for (size_t i = 0; i < models->n; i++) {
		size_t j = 0;
		while (j < n &&
		       !model_ref_equal(models->refs[j], models->refs[i]))
			j++;
		if (j == n)
			models->refs[n++] = models->refs[i];
	}
	models->n = n;
}

static int models_init(struct models *models, const struct recipe_file *file)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < file->n_documents; i++)
		r = add_document(models, file, file->documents[i]);
	sort_by_line(models);
	drop_repeated(models);
	return r;
}

/* Where a model is looked for first, see locate.h. */
static bool is_local(const char *path, const char *recipe)
{
	struct stat st;
	const char *slash = strrchr(recipe, '/');
	AUTO_FREE char *beside = NULL;

	if (stat(path, &st) == 0)
		return true;
	if (!slash || asprintf(&beside, "%.*s/%s", (int)(slash - recipe),
			       recipe, path) < 0) {
		beside = NULL;
		return false;
	}
	return stat(beside, &st) == 0;
}

static bool is_hub_id(const char *path, const char *recipe)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_./";
	const char *slash = strchr(path, '/');

	if (!*path || strchr("/.~", *path) || path[strspn(path, letters)])
		return false;
	if (slash && (!slash[1] || strchr(slash + 1, '/')))
		return false;
	return !is_local(path, recipe);
}

static size_t longest_run(const char *data, size_t size, char wanted)
{
	size_t longest = 0, run = 0;

	for (size_t i = 0; i < size; i++) {
		run = data[i] == wanted ? run + 1 : 0;
		if (run > longest)
			longest = run;
	}
	return longest;
}

static void put_fence(struct text *text, size_t n)
{
	while (n--)
		text_puts(text, "`");
}

/* On one line, as it is: Markdown in it must not come to life. */
static void put_code(struct text *text, const char *string)
{
	size_t size = strlen(string);
	size_t fence = longest_run(string, size, '`') + 1;
	const char *pad = fence > 1 ? " " : "";

	put_fence(text, fence);
	text_puts(text, pad);
	for (; *string; string++) {
		bool control = (unsigned char)*string < 0x20;
		text_append(text, control ? "?" : string, 1);
	}
	text_puts(text, pad);
	put_fence(text, fence);
}

/* Revision and all; the hub's models as links. */
static void put_path(struct text *text, const char *path, const char *revision,
		     const char *recipe)
{
	if (is_hub_id(path, recipe))
		text_printf(text, "[%s](https://huggingface.co/%s)", path,
			    path);
	else
		put_code(text, path);
	if (revision) {
		text_puts(text, " at ");
		put_code(text, revision);
	}
}

static void put_model(struct text *text, const struct model_ref *ref,
		      const char *recipe)
{
	put_path(text, ref->path, ref->revision, recipe);
	if (!ref->lora)
		return;
	text_puts(text, " + ");
	put_path(text, ref->lora, ref->lora_revision, recipe);
}

/* Has one of the first n models this as its own or its adapter's path? */
static bool is_listed(const struct models *models, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		const struct model_ref *ref = models->refs[i];
		if (strcmp(ref->path, path) == 0 ||
		    (ref->lora && strcmp(ref->lora, path) == 0))
			return true;
	}
	return false;
}

/* An id without an owner could be read as a number or null: quoted. */
static void put_id(struct text *text, const char *path)
{
	const char *quote = strchr(path, '/') ? "" : "'";

	text_printf(text, "- %s%s%s\n", quote, path, quote);
}

static void put_ids(struct text *text, const struct models *models,
		    const char *recipe)
{
	struct text ids = {0};

	for (size_t i = 0; i < models->n; i++) {
		const struct model_ref *ref = models->refs[i];
		if (is_hub_id(ref->path, recipe) &&
		    !is_listed(models, i, ref->path))
			put_id(&ids, ref->path);
		if (ref->lora && is_hub_id(ref->lora, recipe) &&
		    !is_listed(models, i, ref->lora) &&
		    strcmp(ref->lora, ref->path) != 0)
			put_id(&ids, ref->lora);
	}
	text->failed |= ids.failed;
	if (ids.length)
		text_printf(text, "base_model:\n%s", ids.data);
	else
		text_puts(text, "base_model: []\n");
	text_done(&ids);
}

static void put_title(struct text *text, const char *title)
{
	text_puts(text, "# ");
	for (; *title; title++) {
		bool control = (unsigned char)*title < 0x20;
		text_append(text, control ? "?" : title, 1);
	}
	text_puts(text,
		  "\n\nA merge of pretrained language models, described by a "
		  "recipe of [mergekit](" PROGRAM ").\n"
		  "The files of this directory were computed from the recipe "
		  "and the models below by mkfs-mount.\n\n");
}

static void put_method(struct text *text, const struct recipe *recipe)
{
	const struct method *method = recipe->method;

	text_puts(text, "## Merge Details\n\n### Merge Method\n\n"
			"This model was merged with the ");
	if (method->url)
		text_printf(text, "[%s](%s)", method->title, method->url);
	else
		text_puts(text, method->title);
	text_puts(text, " merge method");
	if (recipe->base.path && method->base != BASE_ORDINARY) {
		text_puts(text, ", with ");
		put_model(text, &recipe->base, recipe->path);
		text_puts(text, " as the base");
	}
	text_puts(text, ".\n\n");
}

static void put_recipe(struct text *text, const struct recipe_file *file)
{
	size_t fence = longest_run(file->text, file->size, '`') + 1;

	if (fence < 3)
		fence = 3;
	text_puts(text, "### Configuration\n\n"
			"This YAML recipe produced the model:\n\n");
	put_fence(text, fence);
	text_puts(text, "yaml\n");
	text_append(text, file->text, file->size);
	if (file->size == 0 || file->text[file->size - 1] != '\n')
		text_puts(text, "\n");
	put_fence(text, fence);
	text_puts(text, "\n");
}

int card_text(const struct plan *plan, const char *title, char **ret)
{
	const struct recipe_file *file = plan->recipe_file;
	struct models models = {0};
	struct text text = {0};

	int r = models_init(&models, file);
	if (r < 0) {
		free(models.refs);
		return r;
	}
	text_puts(&text, "---\n");
	put_ids(&text, &models, file->path);
	text_puts(&text, "library_name: transformers\n"
			 "tags:\n- mergekit\n- merge\n---\n");
	put_title(&text, title && *title ? title : "Merged model");
	put_method(&text, plan->recipe);
	text_puts(&text, "### Models Merged\n\n"
			 "These models went into the merge:\n\n");
	for (size_t i = 0; i < models.n; i++) {
		text_puts(&text, "* ");
		put_model(&text, models.refs[i], file->path);
		text_puts(&text, "\n");
	}
	text_puts(&text, "\n");
	put_recipe(&text, file);
	free(models.refs);
	*ret = text_take(&text);
	return *ret ? 0 : -ENOMEM;
}
