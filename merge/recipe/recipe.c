#include "merge/recipe/recipe.h"

#include <errno.h>
#include <string.h>

#include "merge/methods/method.h"
#include "merge/recipe/check.h"
#include "merge/recipe/form.h"
#include "merge/recipe/module.h"
#include "merge/recipe/tokenizer_form.h"
#include "merge/recipe/yaml.h"
#include "merge/tensor/dtype.h"
#include "util/text.h"

static void recipe_document_free(struct recipe *recipe)
{
	if (!recipe)
		return;
	for (size_t i = 0; i < recipe->n_modules; i++)
		module_done(&recipe->modules[i]);
	free(recipe->modules);
	settings_done(&recipe->parameters);
	model_ref_done(&recipe->base);
	free(recipe->name);
	free(recipe->dtype);
	free(recipe->out_dtype);
	recipe_tokenizer_done(&recipe->tokenizer);
	free(recipe->chat_template);
	free(recipe);
}

void recipe_free(struct recipe_file *file)
{
	if (!file)
		return;
	for (size_t i = 0; i < file->n_documents; i++)
		recipe_document_free(file->documents[i]);
	free(file->documents);
	free(file->text);
	free(file->path);
	free(file);
}

const struct model_ref *recipe_base(const struct recipe *recipe,
				    const struct recipe_slice *slice)
{
	if (slice->base.path)
		return &slice->base;
	return recipe->base.path ? &recipe->base : NULL;
}

char *recipe_folder(const struct recipe *recipe)
{
	const char *slash = strrchr(recipe->path, '/');
	if (!slash)
		return NULL;

	size_t length = (size_t)(slash - recipe->path);
	return strndup(recipe->path, length ? length : 1);
}

static int visit_slice(const struct recipe_slice *slice,
		       int (*visit)(void *arg, const struct model_ref *ref),
		       void *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < slice->n_sources; i++)
		r = visit(arg, &slice->sources[i].model);
	return r == 0 && slice->base.path ? visit(arg, &slice->base) : r;
}

int recipe_each_model(const struct recipe *recipe,
		      int (*visit)(void *arg, const struct model_ref *ref),
		      void *arg)
{
	int r = recipe->base.path ? visit(arg, &recipe->base) : 0;

	for (size_t i = 0; i < recipe->n_modules; i++) {
		const struct recipe_module *module = &recipe->modules[i];
		for (size_t j = 0; r == 0 && j < module->n_slices; j++)
			r = visit_slice(&module->slices[j], visit, arg);
	}
	return r;
}

int recipe_find_source(const struct recipe_slice *slice,
		       const struct model_ref *model)
{
	for (size_t i = 0; i < slice->n_sources; i++) {
		if (model_ref_equal(&slice->sources[i].model, model))
			return (int)i;
	}
	return -1;
}

/*
 * An unknown key may be the place of anchors that are used elsewhere; one that
 * looks like a known key deserves a remark all the same.
 */
static int check_keys(const struct form *form, const struct yaml *document)
{
	static const char *const keys[] = {
		"merge_method",
		"models",
		"slices",
		"modules",
		"base_model",
		"dtype",
		"out_dtype",
		"parameters",
		"tokenizer",
		"tokenizer_source",
		"chat_template",
		"name",
		NULL,
	};
	for (size_t i = 0; i < document->n; i++) {
		const struct yaml_pair *pair = &document->pairs[i];
		size_t k = 0;
		while (keys[k] && strcmp(keys[k], pair->key) != 0)
			k++;
		if (keys[k])
			continue;

		int r = 0;
		const char *nearest = text_nearest(pair->key, keys);
		if (!yaml_is_shared(pair->value))
			r = form_unknown_key(form, pair, "a recipe", keys);
		else if (nearest)
			r = form_note(form, pair->line,
				      "key '%s' only serves its anchors; did "
				      "you mean %s?",
				      pair->key, nearest);
		if (r < 0)
			return r;
	}
	return 0;
}

static int list_methods(const struct form *form, char **ret)
{
	struct text list = {0};
	const struct method *const *all = method_all();
	for (size_t i = 0; all[i]; i++)
		text_printf(&list, "%s%s", i ? ", " : "", all[i]->name);
	*ret = text_take(&list);
	return *ret ? 0 : form_out_of_memory(form);
}

static int no_method(const struct form *form, unsigned line, const char *name)
{
	const struct method *const *all = method_all();
	size_t n = 0;
	while (all[n])
		n++;
	AUTO_FREE const char **words = calloc(n + 1, sizeof(*words));
	if (!words)
		return form_out_of_memory(form);
	for (size_t i = 0; i < n; i++)
		words[i] = all[i]->name;

	const char *nearest = text_nearest(name, words);
	if (nearest)
		return form_error(form, line,
				  "no method '%s'; did you mean %s?", name,
				  nearest);
	AUTO_FREE char *list = NULL;
	int r = list_methods(form, &list);
	if (r < 0)
		return r;
	return form_error(form, line, "no method '%s'; there are: %s", name,
			  list);
}

static int read_method(struct form *form, const struct yaml *document,
		       struct recipe *recipe)
{
	const struct yaml_pair *pair = form_find(document, "merge_method");
	if (!pair)
		return form_error(form, document->line,
				  "no merge_method: in this recipe");

	int r = form_is(form, pair->value, YAML_SCALAR, "merge_method");
	if (r < 0)
		return r;
	const char *name = pair->value->text;
	recipe->method_line = pair->line;
	recipe->method = method_find(name);
	form->method = recipe->method;
	return recipe->method ? 0 : no_method(form, pair->line, name);
}

static int read_dtype(const struct form *form, const struct yaml *document,
		      const char *key, char **ret)
{
	const struct yaml_pair *pair = form_find(document, key);
	if (!pair)
		return 0;

	int r = form_is(form, pair->value, YAML_SCALAR, key);
	if (r < 0)
		return r;
	const char *name = pair->value->text;
	const struct dtype *dtype = dtype_find_torch(name);
	if (!dtype || !dtype->mergeable)
		return form_error(form, pair->line,
				  "%s '%s' is none that can be computed; write "
				  "float32, bfloat16, float16 or float64",
				  key, name);
	*ret = strdup(dtype->torch);
	return *ret ? 0 : form_out_of_memory(form);
}

static int read_document(struct form *form, const struct yaml *document,
			 struct recipe *recipe)
{
	recipe->line = document->line;
	int r = form_is(form, document, YAML_MAP, "a recipe");
	if (r == 0)
		r = check_keys(form, document);
	if (r == 0)
		r = read_method(form, document, recipe);
	if (r == 0)
		r = read_dtype(form, document, "dtype", &recipe->dtype);
	if (r == 0)
		r = read_dtype(form, document, "out_dtype", &recipe->out_dtype);

	const struct yaml_pair *pair;
	if (r == 0 && (pair = form_find(document, "name")))
		r = form_text(form, pair->value, "name", &recipe->name);
	if (r == 0 && (pair = form_find(document, "base_model")))
		r = model_ref_read(form, pair->value, "base_model",
				   &recipe->base);
	if (r == 0)
		r = modules_read(form, document, recipe);
	if (r == 0 && (pair = form_find(document, "parameters")))
		r = settings_read(form, pair->value, false,
				  &recipe->parameters);
	if (r == 0)
		r = tokenizer_form_read(form, document, recipe);
	return r == 0 ? recipe_check(form, recipe) : r;
}

/* Names tell documents apart; one, the result, may have none. */
static int check_name(const struct form *form, const struct recipe_file *file,
		      const struct recipe *recipe)
{
	for (size_t i = 0; file->documents[i] != recipe; i++) {
		const struct recipe *other = file->documents[i];
		if (!recipe->name && !other->name)
			return form_error(form, recipe->line,
					  "a second recipe without name: (the "
					  "first is in line %u); all but one "
					  "need one",
					  other->line);
		if (recipe->name && other->name &&
		    strcmp(recipe->name, other->name) == 0)
			return form_error(form, recipe->line,
					  "a second recipe of name '%s' (the "
					  "first is in line %u)",
					  recipe->name, other->line);
	}
	return 0;
}

/* Takes the text and path of yaml. */
static int read_file(struct yaml_file *yaml, bool lax, struct recipe_file **ret,
		     struct notes *notes, struct error *err)
{
	AUTO(recipe_file) file = calloc(1, sizeof(*file));
	if (!file)
		return error_set(err, -ENOMEM, "out of memory");
	file->path = TAKE(yaml->path);
	file->text = TAKE(yaml->text);
	file->size = yaml->size;

	struct form form = {
		.path = file->path,
		.lax = lax,
		.notes = notes,
		.err = err,
	};
	if (!yaml->n_documents)
		return form_error(&form, 1,
				  "nothing in it; a recipe has merge_method: "
				  "and models:");

	file->documents = calloc(yaml->n_documents, sizeof(*file->documents));
	if (!file->documents)
		return form_out_of_memory(&form);
	for (size_t i = 0; i < yaml->n_documents; i++) {
		struct recipe *recipe = calloc(1, sizeof(*recipe));
		if (!recipe)
			return form_out_of_memory(&form);
		file->documents[file->n_documents++] = recipe;
		recipe->path = file->path;

		int r = read_document(&form, yaml->documents[i], recipe);
		if (r == 0)
			r = check_name(&form, file, recipe);
		if (r < 0)
			return r;
	}
	*ret = TAKE(file);
	return 0;
}

int recipe_load(const char *path, bool lax, struct recipe_file **ret,
		struct notes *notes, struct error *err)
{
	AUTO(yaml_file) yaml = NULL;
	int r = yaml_load(path, &yaml, err);
	if (r < 0)
		return r;
	return read_file(yaml, lax, ret, notes, err);
}

int recipe_parse(const char *text, size_t size, const char *path, bool lax,
		 struct recipe_file **ret, struct notes *notes,
		 struct error *err)
{
	AUTO(yaml_file) yaml = NULL;
	int r = yaml_parse(text, size, path, &yaml, err);
	if (r < 0)
		return r;
	return read_file(yaml, lax, ret, notes, err);
}
