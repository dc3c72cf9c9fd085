#include "merge/output/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/output/config_private.h"
#include "merge/source/source.h"
#include "util/json.h"

const cJSON *config_object(const cJSON *config, const char *object)
{
	const cJSON *item = *object ? json_at(config, object) : config;

	return cJSON_IsObject(item) ? item : NULL;
}

static bool says_already(const cJSON *item, const char *value)
{
	AUTO(cJSON) wanted = cJSON_Parse(value);

	return item && wanted && cJSON_Compare(item, wanted, true);
}

const cJSON *config_member(const cJSON *object, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(object, key);
}

char *config_path(const char *object, const char *key)
{
	char *path;

	if (asprintf(&path, "%s%s%s", object, *object ? "." : "", key) < 0)
		return NULL;
	return path;
}

int config_set(struct config_edit *edit, const char *object, const char *key,
	       const char *value)
{
	const cJSON *parent = config_object(edit->config, object);

	if (strchr(key, '.'))
		return 0;
	if (says_already(config_member(parent, key), value))
		return 0;
	AUTO_FREE char *path = config_path(object, key);
	return path ? json_edit(&edit->text, path, value) : -ENOMEM;
}

bool config_is_part(const cJSON *item)
{
	static const char suffix[] = "_config";
	const char *name = item->string;
	size_t length = strlen(name);

	return cJSON_IsObject(item) && length > strlen(suffix) &&
	       strcmp(name + length - strlen(suffix), suffix) == 0 &&
	       strcmp(name, "quantization_config") != 0 && !strchr(name, '.');
}

static const char *const dtype_keys[] = {"dtype", "torch_dtype"};

/* Sets the dtype keys that are there, in an object and its parts. */
static int edit_dtype_in(struct config_edit *edit, const char *object,
			 const char *value)
{
	const cJSON *parent = config_object(edit->config, object);
	const cJSON *item;
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(dtype_keys); i++) {
		if (config_member(parent, dtype_keys[i]))
			r = config_set(edit, object, dtype_keys[i], value);
	}
	cJSON_ArrayForEach(item, parent)
	{
		if (r < 0)
			return r;
		if (!config_is_part(item))
			continue;
		AUTO_FREE char *part = config_path(object, item->string);
		r = part ? edit_dtype_in(edit, part, value) : -ENOMEM;
	}
	return r;
}

static int edit_dtype(struct config_edit *edit, const struct dtype *dtype)
{
	char value[32];

	if (!dtype || !dtype->torch)
		return 0;
	snprintf(value, sizeof(value), "\"%s\"", dtype->torch);
	int r = edit_dtype_in(edit, "", value);
	for (size_t i = 0; i < ARRAY_SIZE(dtype_keys); i++) {
		if (config_member(edit->config, dtype_keys[i]))
			return r;
	}
	return r < 0 ? r : config_set(edit, "", dtype_keys[0], value);
}

static int edit_tie(struct config_edit *edit, int tied)
{
	static const char key[] = "tie_word_embeddings";
	const char *value = tied ? "true" : "false";

	if (tied < 0)
		return 0;
	int r = config_set(edit, "", key, value);
	const cJSON *text = config_object(edit->config, "text_config");
	if (r == 0 && text && config_member(text, key))
		r = config_set(edit, "text_config", key, value);
	return r;
}

static int edit_vocabulary(struct config_edit *edit, uint64_t size)
{
	static const char key[] = "vocab_size";
	char value[32];
	if (size == 0)
		return 0;

	snprintf(value, sizeof(value), "%" PRIu64, size);
	const cJSON *text = config_object(edit->config, "text_config");
	bool deep = text && config_member(text, key);
	int r = deep ? config_set(edit, "text_config", key, value) : 0;
	if (r == 0 && (!deep || config_member(edit->config, key)))
		r = config_set(edit, "", key, value);
	return r;
}

static int edit_architecture(struct config_edit *edit, const char *name)
{
	if (!name)
		return 0;

	AUTO_FREE char *quoted = json_quote(name);
	AUTO_FREE char *list = NULL;
	if (!quoted || asprintf(&list, "[%s]", quoted) < 0) {
		list = NULL;
		return -ENOMEM;
	}
	return config_set(edit, "", "architectures", list);
}

static int edit_all(struct config_edit *edit)
{
	const struct plan *plan = edit->plan;
	int r = edit_dtype(edit, plan->dtype);

	for (size_t i = 0; r == 0 && i < plan->n_depths; i++)
		r = config_edit_layers(edit, &plan->depths[i]);
	if (r == 0)
		r = edit_architecture(edit, plan->architecture);
	if (r == 0)
		r = edit_vocabulary(edit, plan->vocab_size);
	if (r == 0)
		r = config_edit_tokens(edit);
	return r < 0 ? r : edit_tie(edit, plan->tied);
}

static int edit_and_judge(struct config_edit *edit, const char *path,
			  struct error *err)
{
	AUTO(cJSON) parsed = NULL;

	int r = edit->text ? edit_all(edit) : -ENOMEM;
	if (r == -ENOMEM)
		return error_set(err, r, "out of memory");
	if (r < 0)
		return error_set(err, r, "%s: cannot be edited for the merge",
				 path);
	return json_parse(edit->text, strlen(edit->text), path, &parsed, err);
}

int config_text(struct plan *plan, char **ret, struct error *err)
{
	const struct source *donor = plan->donor;
	struct config_edit edit = {
		.plan = plan,
		.config = donor->config,
		.text = strdup(donor->config_text),
		.notes = &plan->notes,
	};
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/config.json", donor->label) < 0) {
		path = NULL;
		free(edit.text);
		return error_set(err, -ENOMEM, "out of memory");
	}
	int r = edit_and_judge(&edit, path, err);
	if (r < 0)
		free(edit.text);
	else
		*ret = edit.text;
	return r;
}
