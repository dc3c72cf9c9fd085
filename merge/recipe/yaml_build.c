#include "merge/recipe/yaml_build.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define MAX_DEPTH 64
#define MAX_NODES 100000

struct anchor {
	char *name; /* owned */
	struct yaml *node;
	UT_hash_handle hh;
};

struct builder {
	yaml_parser_t parser;
	struct yaml_file *file;
	struct anchor
		*anchors; /* hash table by name, of this document; owned */
	size_t n_nodes;	  /* and pairs that merge keys brought */
	struct error *err;
};

static void event_done(yaml_event_t *event)
{
	yaml_event_delete(event);
}
#define AUTO_EVENT __attribute__((cleanup(event_done))) yaml_event_t

static int out_of_memory(const struct builder *builder)
{
	return error_set(builder->err, -ENOMEM, "out of memory");
}

static int next_event(struct builder *builder, yaml_event_t *event)
{
	if (yaml_parser_parse(&builder->parser, event))
		return 0;
	return yaml_syntax_error(&builder->parser, builder->file, builder->err);
}

/* The array with room for one more behind n: doubles at the powers of two. */
static void *grow(void *array, size_t n, size_t size)
{
	if (n & (n - 1))
		return array;
	return reallocarray(array, n ? 2 * n : 1, size);
}

static unsigned line_of(const yaml_event_t *event)
{
	return event->start_mark.line < UINT_MAX
		       ? (unsigned)event->start_mark.line + 1
		       : UINT_MAX;
}

static int too_many(const struct builder *builder, unsigned line)
{
	return error_set(builder->err, -EINVAL,
			 "%s:%u: more than %d values, counted through aliases",
			 builder->file->path, line, MAX_NODES);
}

static int new_node(struct builder *builder, enum yaml_kind kind, unsigned line,
		    struct yaml **ret)
{
	if (++builder->n_nodes > MAX_NODES)
		return too_many(builder, line);

	struct yaml *node = calloc(1, sizeof(*node));
	if (!node)
		return out_of_memory(builder);
	node->kind = kind;
	node->line = line;
	node->next = builder->file->nodes;
	builder->file->nodes = node;
	*ret = node;
	return 0;
}

static void forget_anchors(struct builder *builder)
{
	struct anchor *anchor, *next;
	HASH_ITER(hh, builder->anchors, anchor, next)
	{
		HASH_DEL(builder->anchors, anchor);
		free(anchor->name);
		free(anchor);
	}
}

/* A name given again means the later node, from there on. */
static int set_anchor(struct builder *builder, const yaml_char_t *name,
		      struct yaml *node)
{
	if (!name)
		return 0;

	struct anchor *anchor;
	HASH_FIND_STR(builder->anchors, (const char *)name, anchor);
	if (anchor) {
		anchor->node = node;
		return 0;
	}

	anchor = calloc(1, sizeof(*anchor));
	if (!anchor)
		return out_of_memory(builder);
	anchor->node = node;
	anchor->name = strdup((const char *)name);
	if (anchor->name)
		HASH_ADD_KEYPTR(hh, builder->anchors, anchor->name,
				strlen(anchor->name), anchor);
	if (!anchor->name || !anchor->hh.tbl) {
		free(anchor->name);
		free(anchor);
		return out_of_memory(builder);
	}
	return 0;
}

static int find_alias(struct builder *builder, const yaml_event_t *event,
		      struct yaml **ret)
{
	const char *name = (const char *)event->data.alias.anchor;
	const char *path = builder->file->path;
	struct anchor *anchor;

	HASH_FIND_STR(builder->anchors, name, anchor);
	if (!anchor)
		return error_set(builder->err, -EINVAL,
				 "%s:%u: no anchor '&%s' comes before '*%s'",
				 path, line_of(event), name, name);
	if (!anchor->node->visits)
		return error_set(builder->err, -EINVAL,
				 "%s:%u: alias '*%s' stands inside what it "
				 "stands for",
				 path, line_of(event), name);
	anchor->node->aliased = true;
	*ret = anchor->node;
	return 0;
}

static int bad_tag(const struct builder *builder, const yaml_event_t *event,
		   const char *tag)
{
	return error_set(builder->err, -EINVAL,
			 "%s:%u: tag '%s' has no place in a recipe; leave it "
			 "out",
			 builder->file->path, line_of(event), tag);
}

/* "str" of "tag:yaml.org,2002:str", "!" as it is, else NULL. */
static const char *core_tag(const yaml_char_t *tag)
{
	static const char prefix[] = "tag:yaml.org,2002:";
	const char *text = (const char *)tag;

	if (strcmp(text, "!") == 0)
		return text;
	size_t length = strlen(prefix);
	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

/* For lists and maps, whose only tags are their own. */
static int check_tag(const struct builder *builder, const yaml_event_t *event,
		     const yaml_char_t *tag, const char *own)
{
	const char *core = tag ? core_tag(tag) : own;
	if (core && (strcmp(core, own) == 0 || strcmp(core, "!") == 0))
		return 0;
	return bad_tag(builder, event, (const char *)tag);
}

static bool is_null(const char *text)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
	for (size_t i = 0; i < sizeof(nulls) / sizeof(*nulls); i++) {
		if (strcmp(text, nulls[i]) == 0)
			return true;
	}
	return false;
}

static int build_scalar(struct builder *builder, const yaml_event_t *event,
			struct yaml **ret)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	bool quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;

	const yaml_char_t *tag = event->data.scalar.tag;
	if (tag) {
		const char *core = core_tag(tag);
		bool plain = core && (strcmp(core, "int") == 0 ||
				      strcmp(core, "float") == 0 ||
				      strcmp(core, "bool") == 0 ||
				      strcmp(core, "null") == 0);
		bool string = core && (strcmp(core, "str") == 0 ||
				       strcmp(core, "!") == 0);
		if (!plain && !string)
			return bad_tag(builder, event, (const char *)tag);
		quoted = string;
	}
	if (memchr(text, '\0', length))
		return error_set(builder->err, -EINVAL,
				 "%s:%u: a NUL character inside a text",
				 builder->file->path, line_of(event));

	struct yaml *node = NULL;
	int r = new_node(builder, YAML_SCALAR, line_of(event), &node);
	if (r < 0)
		return r;
	node->quoted = quoted;
	if (!quoted && is_null(text))
		node->kind = YAML_NULL;
	node->visits = 1;
	node->text = strdup(text);
	if (!node->text)
		return out_of_memory(builder);
	*ret = node;
	return set_anchor(builder, event->data.scalar.anchor, node);
}

static int build_node(struct builder *builder, const yaml_event_t *event,
		      unsigned depth, struct yaml **ret);

/* Counts a child into its parent. */
static int add_visits(struct builder *builder, const struct yaml *parent,
		      unsigned *visits, const struct yaml *child)
{
	*visits += child->visits;
	return *visits > MAX_NODES ? too_many(builder, parent->line) : 0;
}

static int add_item(struct builder *builder, struct yaml *list,
		    struct yaml *item)
{
	struct yaml **items = grow(list->items, list->n, sizeof(*items));
	if (!items)
		return out_of_memory(builder);
	list->items = items;
	items[list->n++] = item;
	return 0;
}

static int build_list(struct builder *builder, const yaml_event_t *start,
		      unsigned depth, struct yaml **ret)
{
	struct yaml *node = NULL;
	int r = check_tag(builder, start, start->data.sequence_start.tag,
			  "seq");
	if (r == 0)
		r = new_node(builder, YAML_LIST, line_of(start), &node);
	if (r == 0)
		r = set_anchor(builder, start->data.sequence_start.anchor,
			       node);
	if (r < 0)
		return r;

	unsigned visits = 1;
	for (;;) {
		AUTO_EVENT event = {0};
		r = next_event(builder, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			break;

		struct yaml *item = NULL;
		r = build_node(builder, &event, depth + 1, &item);
		if (r == 0)
			r = add_visits(builder, node, &visits, item);
		if (r == 0)
			r = add_item(builder, node, item);
		if (r < 0)
			return r;
	}
	node->visits = visits;
	*ret = node;
	return 0;
}

static int add_pair(struct builder *builder, struct yaml *map,
		    struct yaml_pair pair)
{
	struct yaml_pair *pairs = grow(map->pairs, map->n, sizeof(*pairs));
	if (!pairs)
		return out_of_memory(builder);
	map->pairs = pairs;
	pairs[map->n++] = pair;
	return 0;
}

/* The pairs that a merge key brings, behind those that are there. */
static int merge_pairs(struct builder *builder, struct yaml *map,
		       const struct yaml *from, unsigned line, bool nested)
{
	if (from->kind == YAML_LIST && !nested) {
		for (size_t i = 0; i < from->n; i++) {
			int r = merge_pairs(builder, map, from->items[i], line,
					    true);
			if (r < 0)
				return r;
		}
		return 0;
	}
	if (from->kind != YAML_MAP)
		return error_set(builder->err, -EINVAL,
				 "%s:%u: '<<' takes a map, or a list of maps",
				 builder->file->path, line);

	builder->n_nodes += from->n;
	if (builder->n_nodes > MAX_NODES)
		return too_many(builder, line);
	for (size_t i = 0; i < from->n; i++) {
		int r = add_pair(builder, map, from->pairs[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

/* One pair of a map: a merge key's value goes to `merges`. */
static int build_pair(struct builder *builder, const yaml_event_t *event,
		      unsigned depth, struct yaml *map, struct yaml *merges)
{
	struct yaml *key = NULL;
	int r = build_node(builder, event, depth + 1, &key);
	if (r < 0)
		return r;
	unsigned line = line_of(event);
	if (key->kind != YAML_SCALAR)
		return error_set(builder->err, -EINVAL,
				 "%s:%u: a key must be a word",
				 builder->file->path, line);

	AUTO_EVENT next = {0};
	struct yaml *value = NULL;
	r = next_event(builder, &next);
	if (r == 0)
		r = build_node(builder, &next, depth + 1, &value);
	if (r < 0)
		return r;

	struct yaml_pair pair = {
		.key = key->text,
		.line = line,
		.value = value,
	};
	bool merge = !key->quoted && strcmp(key->text, "<<") == 0;
	return add_pair(builder, merge ? merges : map, pair);
}

static int build_map(struct builder *builder, const yaml_event_t *start,
		     unsigned depth, struct yaml **ret)
{
	struct yaml *node = NULL, *merges = NULL;
	int r = check_tag(builder, start, start->data.mapping_start.tag, "map");
	if (r == 0)
		r = new_node(builder, YAML_MAP, line_of(start), &node);
	if (r == 0)
		r = new_node(builder, YAML_MAP, line_of(start), &merges);
	if (r == 0)
		r = set_anchor(builder, start->data.mapping_start.anchor, node);
	if (r < 0)
		return r;

	for (;;) {
		AUTO_EVENT event = {0};
		r = next_event(builder, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_MAPPING_END_EVENT)
			break;
		r = build_pair(builder, &event, depth, node, merges);
		if (r < 0)
			return r;
	}

	size_t n_own = node->n;
	for (size_t i = 0; i < merges->n; i++) {
		const struct yaml_pair *pair = &merges->pairs[i];
		r = merge_pairs(builder, node, pair->value, pair->line, false);
		if (r < 0)
			return r;
	}
	r = yaml_settle_keys(node, n_own, builder->file->path, builder->err);
	if (r < 0)
		return r;

	unsigned visits = 1;
	for (size_t i = 0; i < node->n; i++) {
		r = add_visits(builder, node, &visits, node->pairs[i].value);
		if (r < 0)
			return r;
	}
	node->visits = visits;
	*ret = node;
	return 0;
}

static int build_node(struct builder *builder, const yaml_event_t *event,
		      unsigned depth, struct yaml **ret)
{
	if (depth > MAX_DEPTH)
		return error_set(builder->err, -EINVAL,
				 "%s:%u: nested deeper than %d levels",
				 builder->file->path, line_of(event),
				 MAX_DEPTH);

	switch (event->type) {
	case YAML_ALIAS_EVENT:
		return find_alias(builder, event, ret);
	case YAML_SCALAR_EVENT:
		return build_scalar(builder, event, ret);
	case YAML_SEQUENCE_START_EVENT:
		return build_list(builder, event, depth, ret);
	default:
		return build_map(builder, event, depth, ret);
	}
}

static int build_document(struct builder *builder)
{
	struct yaml_file *file = builder->file;
	AUTO_EVENT event = {0};
	struct yaml *root = NULL;

	int r = next_event(builder, &event);
	if (r == 0)
		r = build_node(builder, &event, 1, &root);
	forget_anchors(builder);
	if (r < 0)
		return r;

	/* What a trailing --- begins. */
	if (root->kind == YAML_NULL && !*root->text)
		return 0;
	struct yaml **documents =
		grow(file->documents, file->n_documents, sizeof(*documents));
	if (!documents)
		return out_of_memory(builder);
	file->documents = documents;
	documents[file->n_documents++] = root;
	return 0;
}

static int build_stream(struct builder *builder)
{
	for (;;) {
		AUTO_EVENT event = {0};
		int r = next_event(builder, &event);
		if (r < 0)
			return r;
		if (event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		r = build_document(builder);
		if (r < 0)
			return r;
	}
}

int yaml_build(struct yaml_file *file, struct error *err)
{
	struct builder builder = {.file = file, .err = err};
	if (!yaml_parser_initialize(&builder.parser))
		return out_of_memory(&builder);

	/* Left alone, libyaml would take UTF-16 too; then a byte order mark
	 * is ours to skip. */
	bool marked =
		file->size >= 3 && memcmp(file->text, "\xef\xbb\xbf", 3) == 0;
	yaml_parser_set_encoding(&builder.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&builder.parser,
				     (const unsigned char *)file->text +
					     (marked ? 3 : 0),
				     file->size - (marked ? 3 : 0));

	int r = build_stream(&builder);
	forget_anchors(&builder);
	yaml_parser_delete(&builder.parser);
	return r;
}
