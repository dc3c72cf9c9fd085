/* Edits of config.json and generation_config.json that follow the vocabulary.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/output/config.h"
#include "merge/output/config_private.h"
#include "merge/source/file.h"
#include "merge/source/source.h"
#include "merge/tokenizer/vocabulary.h"
#include "util/json.h"
#include "util/text.h"

static bool ends_in(const char *key, const char *end)
{
	size_t n = strlen(key), m = strlen(end);

	return n >= m && strcmp(key + n - m, end) == 0;
}

/* Members that name tokens: one id, or a list of them. */
static bool is_token_id(const char *key)
{
	return ends_in(key, "_token_id") || ends_in(key, "_token_ids") ||
	       ends_in(key, "_token_index");
}

/* The output's id of the donor's token, -1 if the output lacks it. */
static int64_t new_id(const struct vocabulary *vocabulary, uint64_t id)
{
	const int32_t *own = vocabulary->own[vocabulary->base];

	if (id < vocabulary->n_tokens && own[id] == (int32_t)id)
		return (int64_t)id;
	for (uint32_t i = 0; i < vocabulary->n_tokens; i++) {
		if (own[i] >= 0 && (uint64_t)own[i] == id)
			return i;
	}
	return -1;
}

struct remap {
	struct config_edit *edit;
	const char *file;   /* for notes */
	bool changed, lost; /* of the last member: an id, a token */
};

static void put_id(struct remap *remap, const cJSON *item, struct text *text)
{
	const struct vocabulary *vocabulary = remap->edit->plan->vocabulary;
	uint64_t id;
	if (!json_u64(item, &id)) {
		char *printed = cJSON_PrintUnformatted(item);
		text_puts(text, printed ? printed : "null");
		cJSON_free(printed);
		return;
	}

	int64_t now = new_id(vocabulary, id);
	text_printf(text, "%" PRId64, now < 0 ? (int64_t)id : now);
	remap->changed |= now >= 0 && (uint64_t)now != id;
	remap->lost |= now < 0;
}

/* The donor's token is none of the output's: what the model says whose
 * tokenizer it is, or, with a note, what stood there. */
static int replace_lost(struct remap *remap, const char *object,
			const cJSON *item)
{
	const struct source *basis = remap->edit->plan->vocabulary->basis;
	const cJSON *theirs =
		basis->config
			? config_member(config_object(basis->config, object),
					item->string)
			: NULL;
	int r = notes_add(remap->edit->notes,
			  "%s: %s is of a token that the output's vocabulary "
			  "lacks; %s%s",
			  remap->file, item->string,
			  theirs ? "now as in " : "left as it is",
			  theirs ? basis->label : "");
	if (r < 0 || !theirs)
		return r;

	char *value = cJSON_PrintUnformatted(theirs);
	r = value ? config_set(remap->edit, object, item->string, value)
		  : -ENOMEM;
	cJSON_free(value);
	return r;
}

static int remap_member(struct remap *remap, const char *object,
			const cJSON *item)
{
	struct text text = {0};
	const cJSON *element;

	remap->changed = remap->lost = false;
	if (cJSON_IsArray(item)) {
		text_puts(&text, "[");
		cJSON_ArrayForEach(element, item)
		{
			text_puts(&text, element == item->child ? "" : ", ");
			put_id(remap, element, &text);
		}
		text_puts(&text, "]");
	} else {
		put_id(remap, item, &text);
	}
	AUTO_FREE char *value = text_take(&text);
	if (!value)
		return -ENOMEM;
	if (remap->lost)
		return replace_lost(remap, object, item);
	return remap->changed
		       ? config_set(remap->edit, object, item->string, value)
		       : 0;
}

static int remap_in(struct remap *remap, const char *object)
{
	const cJSON *parent = config_object(remap->edit->config, object);
	const cJSON *item;
	int r = 0;

	cJSON_ArrayForEach(item, parent)
	{
		if (r < 0)
			return r;
		if (is_token_id(item->string) && !cJSON_IsNull(item))
			r = remap_member(remap, object, item);
		else if (config_is_part(item)) {
			AUTO_FREE char *part =
				config_path(object, item->string);
			r = part ? remap_in(remap, part) : -ENOMEM;
		}
	}
	return r;
}

/* Only a vocabulary that is not made from the donor's has other ids. */
static bool has_other_ids(const struct vocabulary *vocabulary)
{
	return vocabulary && !vocabulary->from_base;
}

int config_edit_tokens(struct config_edit *edit)
{
	struct remap remap = {.edit = edit, .file = "config.json"};

	return has_other_ids(edit->plan->vocabulary) ? remap_in(&remap, "") : 0;
}

int config_generation(struct plan *plan, const struct file *file,
		      struct file **ret, struct error *err)
{
	AUTO_FREE char *text = NULL;
	AUTO(cJSON) config = NULL;
	struct config_edit edit = {.plan = plan, .notes = &plan->notes};
	struct remap remap = {.edit = &edit, .file = "generation_config.json"};

	*ret = NULL;
	if (!has_other_ids(plan->vocabulary))
		return 0;
	int r = file_load(file, 1 << 20, &text, err);
	if (r == 0)
		r = json_parse(text, file->size, file->path, &config, err);
	if (r < 0)
		return r;
	edit.config = config;
	edit.text = TAKE(text);
	r = remap_in(&remap, "");
	text = edit.text;
	if (r < 0)
		return error_set(err, r, "%s: %s", file->path, strerror(-r));
	return file_of_bytes(file->path, text, strlen(text), ret, err);
}
