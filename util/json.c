#include "util/json.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"
#include "util/utf8.h"

#define MAX_DEPTH 64

/*
 * What cJSON does not look at: encoding, NUL, depth. Inside strings only
 * escapes matter; outside only brackets.
 */
static const char *scan(const char *text, size_t size)
{
	const unsigned char *p = (const unsigned char *)text;
	const unsigned char *end = p + size;
	bool in_string = false;
	unsigned depth = 0;

	while (p < end) {
		size_t n = utf8_sequence(p, (size_t)(end - p));
		if (n == 0)
			return "it is not UTF-8";
		/* cJSON takes any control character for white space. */
		if (*p < 0x20 && (in_string || !strchr("\t\r\n", *p) || !*p))
			return *p ? "it has a control character"
				  : "it has a NUL byte";
		if (in_string && *p == '\\') {
			if (end - p >= 6 && memcmp(p + 1, "u0000", 5) == 0)
				return "it has a NUL escape in a string";
			p += end - p > 1 ? 2 : 1;
			continue;
		}
		if (*p == '"')
			in_string = !in_string;
		else if (!in_string && (*p == '{' || *p == '['))
			depth++;
		else if (!in_string && (*p == '}' || *p == ']'))
			depth--;
		if (depth > MAX_DEPTH && depth < (unsigned)-MAX_DEPTH)
			return "it is nested too deep";
		p += n;
	}
	return NULL;
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Looks for a key that stands twice in one object; *ret is it, or NULL. */
static int find_duplicate(const cJSON *object, const char **ret)
{
	size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
	if (n < 2)
		return 0;
	AUTO_FREE const char **keys = calloc(n, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	for (const cJSON *item = object->child; item; item = item->next)
		keys[i++] = item->string;
	qsort(keys, n, sizeof(*keys), compare_keys);
	for (i = 1; i < n; i++) {
		if (strcmp(keys[i - 1], keys[i]) == 0)
			*ret = keys[i];
	}
	return 0;
}

static int check_keys(const cJSON *value, const char *path, struct error *err)
{
	const char *twice = NULL;

	if (cJSON_IsObject(value) && find_duplicate(value, &twice) < 0)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	if (twice)
		return error_set(err, -EINVAL,
				 "%s: key \"%.100s\" stands twice", path,
				 twice);
	for (const cJSON *item = value->child; item; item = item->next) {
		int r = item->child ? check_keys(item, path, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

static bool is_blank(const char *text, const char *end)
{
	while (text < end && strchr(" \t\r\n", *text))
		text++;
	return text == end;
}

int json_parse(const char *text, size_t size, const char *path, cJSON **ret,
	       struct error *err)
{
	if (is_blank(text, text + size))
		return error_set(err, -EINVAL, "%s: empty, not JSON", path);
	const char *why = scan(text, size);
	if (why)
		return error_set(err, -EINVAL, "%s: not valid JSON: %s", path,
				 why);

	const char *end = NULL;
	AUTO(cJSON) value = cJSON_ParseWithLengthOpts(text, size, &end, 0);
	if (!value || !is_blank(end, text + size))
		return error_set(err, -EINVAL, "%s:%u: not valid JSON", path,
				 line_of(text, end ? end : text));
	int r = check_keys(value, path, err);
	if (r < 0)
		return r;
	*ret = TAKE(value);
	return 0;
}

cJSON *json_append_object(cJSON *list)
{
	cJSON *object = cJSON_CreateObject();

	if (!cJSON_AddItemToArray(list, object)) {
		cJSON_Delete(object);
		return NULL;
	}
	return object;
}

bool json_u64(const cJSON *item, uint64_t *ret)
{
	if (!cJSON_IsNumber(item))
		return false;
	double value = item->valuedouble;
	if (!(value >= 0 && value <= 0x1p53) || value != floor(value))
		return false;
	*ret = (uint64_t)value;
	return true;
}

const cJSON *json_at(const cJSON *root, const char *dotted)
{
	char key[256];

	while (root && *dotted) {
		size_t length = strcspn(dotted, ".");
		if (length >= sizeof(key))
			return NULL;
		memcpy(key, dotted, length);
		key[length] = '\0';
		root = cJSON_GetObjectItemCaseSensitive(root, key);
		dotted += length + (dotted[length] == '.');
	}
	return root;
}

/* Editing: the text is known to be valid, so a scanner of brackets is enough.
 */

static const char *skip_blank(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static const char *skip_string(const char *p)
{
	for (p++; *p && *p != '"'; p++)
		p += *p == '\\' && p[1];
	return *p ? p + 1 : p;
}

static const char *skip_value(const char *p)
{
	unsigned depth = 0;

	if (*p == '"')
		return skip_string(p);
	if (*p != '{' && *p != '[')
		return p + strcspn(p, ",}] \t\r\n");
	do {
		if (*p == '"') {
			p = skip_string(p);
			continue;
		}
		depth += *p == '{' || *p == '[';
		depth -= *p == '}' || *p == ']';
		p++;
	} while (depth > 0 && *p);
	return p;
}

struct member {
	const char *value, *end; /* of the value; NULL: there is none such */
	const char *blank;	 /* what stands before the object's first key */
	size_t blank_length;
	const char *last; /* where another member would be put */
	bool empty;
};

/* Looks for a key in the object at p. */
static struct member find_member(const char *p, const char *key, size_t length)
{
	struct member member = {.blank = p + 1};

	p = skip_blank(p + 1);
	member.blank_length = (size_t)(p - member.blank);
	member.last = member.blank;
	member.empty = *p == '}';
	while (*p == '"') {
		const char *name = p + 1;
		p = skip_string(p);
		size_t n = (size_t)(p - 1 - name);
		p = skip_blank(p);
		p = skip_blank(p + (*p == ':'));
		const char *value = p;
		p = skip_value(p);
		if (n == length && memcmp(name, key, n) == 0) {
			member.value = value;
			member.end = p;
			return member;
		}
		member.last = p;
		p = skip_blank(p);
		if (*p == ',')
			p = skip_blank(p + 1);
	}
	return member;
}

/* Replaces [at, end) of *text by what `middle` holds. */
static int splice(char **text, const char *at, const char *end,
		  struct text *middle)
{
	struct text whole = {0};
	AUTO_FREE char *part = text_take(middle);
	if (!part)
		return -ENOMEM;

	text_append(&whole, *text, (size_t)(at - *text));
	text_puts(&whole, part);
	text_puts(&whole, end);
	char *edited = text_take(&whole);
	if (!edited)
		return -ENOMEM;
	free(*text);
	*text = edited;
	return 0;
}

int json_edit(char **text, const char *dotted, const char *value)
{
	const char *p = skip_blank(*text);

	for (;;) {
		if (*p != '{')
			return -ENOENT;
		size_t length = strcspn(dotted, ".");
		struct member member = find_member(p, dotted, length);
		bool last = dotted[length] == '\0';
		struct text middle = {0};
		if (!last) {
			if (!member.value)
				return -ENOENT;
			p = member.value;
			dotted += length + 1;
			continue;
		}
		if (member.value) {
			text_puts(&middle, value);
			return splice(text, member.value, member.end, &middle);
		}
		if (!member.empty) {
			text_puts(&middle, ",");
			text_append(&middle, member.blank, member.blank_length);
		}
		text_printf(&middle, "\"%s\": %s", dotted, value);
		return splice(text, member.last, member.last, &middle);
	}
}

char *json_quote(const char *text)
{
	struct text out = {0};

	text_puts(&out, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;
		if (c == '"' || c == '\\')
			text_printf(&out, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			text_printf(&out, "\\u%04x", c);
		else
			text_append(&out, text, 1);
	}
	text_puts(&out, "\"");
	return text_take(&out);
}
