#include "merge/recipe/model_ref.h"

#include <string.h>

#include "merge/recipe/form.h"

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool model_ref_equal(const struct model_ref *a, const struct model_ref *b)
{
	return same_text(a->path, b->path) &&
	       same_text(a->revision, b->revision) &&
	       same_text(a->lora, b->lora) &&
	       same_text(a->lora_revision, b->lora_revision) &&
	       same_text(a->architecture, b->architecture);
}

void model_ref_done(struct model_ref *ref)
{
	free(ref->path);
	free(ref->revision);
	free(ref->lora);
	free(ref->lora_revision);
	free(ref->architecture);
	*ref = (struct model_ref){0};
}

/* Splits "path[@revision]"; whole is the text it comes from, for people. */
static int split_revision(const struct form *form, unsigned line,
			  const char *what, const char *whole, char *text,
			  char **ret_path, char **ret_revision)
{
	char *at = strchr(text, '@');
	if (at && strchr(at + 1, '@'))
		return form_error(form, line,
				  "%s '%s' has more than one '@'; write "
				  "path@revision, or a path that contains '@' "
				  "as {model: {path: ...}}",
				  what, whole);
	if (at)
		*at++ = '\0';
	if (!*text || (at && !*at))
		return form_error(form, line,
				  "%s '%s' lacks a path or a revision; write "
				  "path, path@revision or path+lora",
				  what, whole);

	*ret_path = strdup(text);
	if (!*ret_path)
		return form_out_of_memory(form);
	if (!at)
		return 0;
	*ret_revision = strdup(at);
	return *ret_revision ? 0 : form_out_of_memory(form);
}

static int read_string(const struct form *form, const struct yaml *node,
		       const char *what, struct model_ref *ref)
{
	AUTO_FREE char *text = NULL;
	int r = form_text(form, node, what, &text);
	if (r < 0)
		return r;

	char *plus = strchr(text, '+');
	if (plus && strchr(plus + 1, '+'))
		return form_error(form, node->line,
				  "%s '%s' has more than one '+'; write "
				  "path+lora, or a path that contains '+' as "
				  "{model: {path: ...}}",
				  what, node->text);
	if (plus)
		*plus = '\0';
	r = split_revision(form, node->line, what, node->text, text, &ref->path,
			   &ref->revision);
	if (r < 0 || !plus)
		return r;
	return split_revision(form, node->line, what, node->text, plus + 1,
			      &ref->lora, &ref->lora_revision);
}

/* {path: ..., revision: ...}, whose path is taken as it is. */
static int read_path_map(const struct form *form, const struct yaml *map,
			 const char *what, char **ret_path, char **ret_revision)
{
	static const char *const keys[] = {"path", "revision", NULL};
	int r = form_keys(form, map, what, keys);
	if (r < 0)
		return r;

	const struct yaml_pair *path = form_find(map, "path");
	if (!path)
		return form_error(form, map->line, "%s lacks its path:", what);
	r = form_text(form, path->value, "path", ret_path);
	if (r == 0 && !**ret_path)
		r = form_error(form, path->line, "%s has an empty path", what);
	if (r < 0)
		return r;

	const struct yaml_pair *revision = form_find(map, "revision");
	return revision ? form_text(form, revision->value, "revision",
				    ret_revision)
			: 0;
}

/* "path[@revision]" or a map, where the map form allows either. */
static int read_half(const struct form *form, const struct yaml *node,
		     const char *what, char **ret_path, char **ret_revision)
{
	if (node->kind == YAML_MAP)
		return read_path_map(form, node, what, ret_path, ret_revision);

	AUTO_FREE char *text = NULL;
	int r = form_text(form, node, what, &text);
	if (r < 0)
		return r;
	return split_revision(form, node->line, what, node->text, text,
			      ret_path, ret_revision);
}

static int read_map(const struct form *form, const struct yaml *map,
		    const char *what, struct model_ref *ref)
{
	static const char *const keys[] = {"model", "lora",
					   "override_architecture", NULL};
	if (form_find(map, "path"))
		return read_path_map(form, map, what, &ref->path,
				     &ref->revision);
	int r = form_keys(form, map, what, keys);
	if (r < 0)
		return r;

	const struct yaml_pair *model = form_find(map, "model");
	if (!model)
		return form_error(form, map->line, "%s lacks its model:", what);
	r = read_half(form, model->value, "model", &ref->path, &ref->revision);
	if (r < 0)
		return r;

	const struct yaml_pair *lora = form_find(map, "lora");
	if (lora)
		r = read_half(form, lora->value, "lora", &ref->lora,
			      &ref->lora_revision);
	if (r < 0)
		return r;

	const struct yaml_pair *name = form_find(map, "override_architecture");
	return name ? form_text(form, name->value, "override_architecture",
				&ref->architecture)
		    : 0;
}

int model_ref_read(const struct form *form, const struct yaml *node,
		   const char *what, struct model_ref *ret)
{
	ret->line = node->line;
	if (node->kind == YAML_MAP)
		return read_map(form, node, what, ret);
	if (node->kind == YAML_SCALAR)
		return read_string(form, node, what, ret);
	return form_error(form, node->line,
			  "%s must be one model: path[@revision][+lora], or a "
			  "map with model: and lora:",
			  what);
}
