#include "merge/output/config_private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge/engine/plan.h"
#include "merge/source/source.h"
#include "util/json.h"
#include "util/text.h"

/* Lists of layers, by exact name: they may look like flags. */
static const char *const index_lists[] = {
	"mlp_only_layers",
	"cross_attention_layers",
	"moe_layers",
	"full_attn_idxs",
	"attn_layer_indices",
	"hybrid_layer_ids",
	"fullatt_block_indexes",
	"slstm_at",
};

/* How other names of such lists end. */
static const char *const index_suffixes[] = {
	"_layers", "_layer_ids", "_layer_idx", "_idxs", "_indices", "_indexes",
};

/* What is in the name of a list with one element for each layer. */
static const char *const layer_words[] = {
	"layer",
	"pattern",
	"types",
	"type_list",
	"rope",
	"sliding",
	"window",
	"block",
	"heads",
	"attn",
	"attention",
	"mlp",
	"ffn",
	"experts",
	"freq",
	"sparsity",
	"intermediate_size",
};

/* What is in the name of lists that are something else. */
static const char *const other_words[] = {
	"token", "section", "feature_layer", "image", "architectures",
};

static bool is_one_of(const char *key, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(key, words[i]) == 0)
			return true;
	}
	return false;
}

static bool has_one_of(const char *key, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strstr(key, words[i]))
			return true;
	}
	return false;
}

/* Has the value an element, or a character, for each of n layers? */
static bool is_per_layer(const cJSON *item, uint64_t n)
{
	if (cJSON_IsString(item))
		return strlen(item->valuestring) == n;
	return cJSON_IsArray(item) && (uint64_t)cJSON_GetArraySize(item) == n;
}

/* Are all elements numbers of layers below n? */
static bool is_index_list(const cJSON *list, uint64_t n)
{
	const cJSON *item;

	if (!cJSON_IsArray(list))
		return false;
	cJSON_ArrayForEach(item, list)
	{
		uint64_t value;
		if (!json_u64(item, &value) || value >= n)
			return false;
	}
	return true;
}

/* Could the list be one of flags, one for each of n layers? */
static bool is_flags(const cJSON *list, uint64_t n)
{
	return is_per_layer(list, n) && is_index_list(list, 2);
}

/* The source's own value of a per-layer member, else the donor's. */
static const cJSON *value_of(const struct scope *scope, const char *key,
			     const struct source *source)
{
	const cJSON *donors = config_member(scope->object, key);
	const cJSON *object = scope_object_of(scope, source);
	const cJSON *own = object ? config_member(object, key) : NULL;
	uint64_t n;

	if (own && (own->type & 0xff) == (donors->type & 0xff) &&
	    json_u64(config_member(object, scope->counter), &n) &&
	    is_per_layer(own, n))
		return own;
	return donors;
}

/*
 * Walks the elements of a list that belong to the output's layers. Runs of
 * layers of one source are stepped through, not looked up.
 */
struct walk {
	const struct source *source;
	const cJSON *value, *item;
	uint64_t layer;
};

static const cJSON *walk_to(struct walk *walk, const struct scope *scope,
			    const char *key, const struct layer_origin *origin)
{
	bool next = walk->source == origin->source && walk->item &&
		    origin->layer == walk->layer + 1;

	if (walk->source != origin->source)
		walk->value = value_of(scope, key, origin->source);
	walk->source = origin->source;
	walk->layer = origin->layer;
	if (next)
		walk->item = walk->item->next;
	else
		walk->item = origin->layer > INT32_MAX
				     ? NULL
				     : cJSON_GetArrayItem(walk->value,
							  (int)origin->layer);
	return walk->item;
}

static int note_short(const struct scope *scope, const char *key,
		      const struct layer_origin *origin)
{
	return notes_add(scope->edit->notes,
			 "config.json: %s has no element for layer %" PRIu64
			 " of %s; left as it is",
			 key, origin->layer, origin->source->label);
}

/* cJSON knows no difference between 1 and 1.0; strict readers do. */
static bool is_written_with_fractions(const char *text, const char *key)
{
	AUTO_FREE char *quoted = json_quote(key);

	for (const char *at = quoted ? strstr(text, quoted) : NULL; at;
	     at = strstr(at, quoted)) {
		at += strlen(quoted);
		at += strspn(at, " \t\r\n:");
		if (*at == '[')
			return at[strcspn(at, ".]")] == '.';
	}
	return false;
}

static void put_item(struct text *text, const cJSON *item, bool fraction)
{
	char *printed = cJSON_PrintUnformatted(item);

	if (!printed) {
		text->failed = true;
		return;
	}
	text_puts(text, printed);
	if (fraction && cJSON_IsNumber(item) && !strpbrk(printed, ".eE"))
		text_puts(text, ".0");
	cJSON_free(printed);
}

/* One element on a line, as config.json is usually written, where the donor's
 * is. */
static void put_break(struct text *text, const struct scope *scope,
		      unsigned deeper)
{
	if (!strstr(scope->edit->text, "\n "))
		return;
	text_puts(text, "\n");
	for (const char *at = scope->path; *at; at++)
		deeper += *at == '.';
	for (deeper += *scope->path ? 2 : 1; deeper > 0; deeper--)
		text_puts(text, "  ");
}

/* The output's list, as JSON text; NULL in *ret where the donor's stays. */
static int gather_list(const struct scope *scope, const char *key, char **ret)
{
	const struct layer_count *depth = scope->depth;
	bool fraction = is_written_with_fractions(scope->edit->text, key);
	struct text text = {0};
	struct walk walk = {0};

	*ret = NULL;
	text_puts(&text, "[");
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		const cJSON *item =
			walk_to(&walk, scope, key, &depth->layers[i]);
		if (!item) {
			text_done(&text);
			return note_short(scope, key, &depth->layers[i]);
		}
		text_puts(&text, i ? "," : "");
		put_break(&text, scope, 1);
		put_item(&text, item, fraction);
	}
	put_break(&text, scope, 0);
	text_puts(&text, "]");
	*ret = text_take(&text);
	return *ret ? 0 : -ENOMEM;
}

/* The same for a string with a character for each layer ("M-M*"). */
static int gather_string(const struct scope *scope, const char *key, char **ret)
{
	const struct layer_count *depth = scope->depth;
	AUTO_FREE char *gathered = calloc(1, depth->n_layers + 1);
	if (!gathered)
		return -ENOMEM;

	*ret = NULL;
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		const struct layer_origin *origin = &depth->layers[i];
		const char *own =
			value_of(scope, key, origin->source)->valuestring;
		if (origin->layer >= strlen(own))
			return note_short(scope, key, origin);
		if (!isascii(own[origin->layer]))
			return 0;
		gathered[i] = own[origin->layer];
	}
	*ret = json_quote(gathered);
	return *ret ? 0 : -ENOMEM;
}

static int edit_per_layer(const struct scope *scope, const cJSON *item)
{
	AUTO_FREE char *value = NULL;

	int r = cJSON_IsString(item)
			? gather_string(scope, item->string, &value)
			: gather_list(scope, item->string, &value);
	if (r < 0 || !value)
		return r;
	return config_set(scope->edit, scope->path, item->string, value);
}

/* GPT-Neo: pairs of a pattern and how often it is repeated. */
static int edit_attention_types(const struct scope *scope)
{
	AUTO_FREE char *layers = NULL;
	AUTO_FREE char *value = NULL;

	int r = gather_list(scope, "attention_layers", &layers);
	if (r < 0 || !layers)
		return r;
	if (asprintf(&value, "[[%s, 1]]", layers) < 0) {
		value = NULL;
		return -ENOMEM;
	}
	return config_set(scope->edit, scope->path, "attention_types", value);
}

/* One flag for each layer that the output takes from the source: is it in the
 * source's own list, or else in the donor's? */
static void mark_listed(const struct scope *scope, const char *key,
			const struct source *source, bool *marks, uint64_t n)
{
	const cJSON *object = scope_object_of(scope, source);
	const cJSON *list = object ? config_member(object, key) : NULL;
	const cJSON *item;

	if (!is_index_list(list, UINT64_MAX))
		list = config_member(scope->object, key);
	memset(marks, 0, n * sizeof(*marks));
	cJSON_ArrayForEach(item, list)
	{
		uint64_t layer;
		if (json_u64(item, &layer) && layer < n)
			marks[layer] = true;
	}
}

static int edit_index_list(const struct scope *scope, const char *key)
{
	const struct layer_count *depth = scope->depth;
	const struct source *source = NULL;
	struct text text = {0};
	uint64_t n = 0;

	for (uint64_t i = 0; i < depth->n_layers; i++) {
		if (depth->layers[i].layer >= n)
			n = depth->layers[i].layer + 1;
	}
	AUTO_FREE bool *marks = calloc(n ? n : 1, sizeof(*marks));
	if (!marks)
		return -ENOMEM;

	bool any = false;
	text_puts(&text, "[");
	for (uint64_t i = 0; i < depth->n_layers; i++) {
		if (depth->layers[i].source != source) {
			source = depth->layers[i].source;
			mark_listed(scope, key, source, marks, n);
		}
		if (!marks[depth->layers[i].layer])
			continue;
		text_puts(&text, any ? "," : "");
		put_break(&text, scope, 1);
		text_printf(&text, "%" PRIu64, i);
		any = true;
	}
	if (any)
		put_break(&text, scope, 0);
	text_puts(&text, "]");
	AUTO_FREE char *value = text_take(&text);
	return value ? config_set(scope->edit, scope->path, key, value)
		     : -ENOMEM;
}

int scope_edit_list(const struct scope *scope, const cJSON *item)
{
	uint64_t n = scope->depth->donor_layers;
	const char *key = item->string;

	if (has_one_of(key, other_words, ARRAY_SIZE(other_words)))
		return 0;
	if (cJSON_IsString(item) && !strstr(key, "pattern"))
		return 0;
	if (strcmp(key, "attention_types") == 0 &&
	    is_per_layer(config_member(scope->object, "attention_layers"), n))
		return edit_attention_types(scope);
	if (is_index_list(item, n) &&
	    (is_one_of(key, index_lists, ARRAY_SIZE(index_lists)) ||
	     (text_ends_any(key, index_suffixes, ARRAY_SIZE(index_suffixes)) &&
	      !is_flags(item, n))))
		return edit_index_list(scope, key);
	if (is_per_layer(item, n) &&
	    has_one_of(key, layer_words, ARRAY_SIZE(layer_words)))
		return edit_per_layer(scope, item);
	return 0;
}
