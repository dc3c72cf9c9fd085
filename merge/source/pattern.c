#include "merge/source/pattern.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define MAX_LENGTH 4096
#define MAX_DEPTH 64	/* of groups in groups */
#define MAX_REPEAT 1000 /* of all braces, multiplied */

struct pattern {
	regex_t whole, end;
	bool has_whole, has_end;
};

/* What is being translated: Python's on the left, POSIX's on the right. */
struct translation {
	const char *at;
	struct text out;
	unsigned long repeat;
	unsigned depth;
	bool in_class;
	struct error *err;
};

static int refuse(const struct translation *translation, const char *what)
{
	return error_set(translation->err, -EINVAL, "%s is not understood",
			 what);
}

/* A backslash and what is behind it. */
static int translate_escape(struct translation *translation)
{
	static const struct {
		char letter;
		const char *plain, *in_class;
	} classes[] = {
		{'d', "[0-9]", "0-9"},
		{'D', "[^0-9]", NULL},
		{'w', "[[:alnum:]_]", "[:alnum:]_"},
		{'W', "[^[:alnum:]_]", NULL},
		{'s', "[[:space:]]", "[:space:]"},
		{'S', "[^[:space:]]", NULL},
		{'b', "\\b", NULL},
		{'B', "\\B", NULL},
		{'A', "^", NULL},
		{'Z', "$", NULL},
	};
	char letter = *++translation->at;

	for (size_t i = 0; i < ARRAY_SIZE(classes); i++) {
		if (classes[i].letter != letter)
			continue;
		const char *as = translation->in_class ? classes[i].in_class
						       : classes[i].plain;
		if (!as)
			return refuse(translation, "such a character class");
		text_puts(&translation->out, as);
		translation->at++;
		return 0;
	}
	if (!letter)
		return refuse(translation, "a backslash at the end");
	if (isalnum((unsigned char)letter))
		return refuse(translation, "an escape or a back-reference");
	/* POSIX has no escapes within brackets. */
	if (translation->in_class && strchr("]^-[", letter))
		return refuse(translation, "an escape within brackets");
	if (!translation->in_class)
		text_puts(&translation->out, "\\");
	text_append(&translation->out, &letter, 1);
	translation->at++;
	return 0;
}

/* "{2,5}"; a brace that repeats nothing stands for itself. */
static int translate_brace(struct translation *translation)
{
	const char *at = translation->at + 1;
	char *end;
	unsigned long least = strtoul(at, &end, 10), most = least;

	if (!isdigit((unsigned char)*at))
		return refuse(translation, "a brace without a number");
	if (*end == ',') {
		at = end + 1;
		most = isdigit((unsigned char)*at) ? strtoul(at, &end, 10)
						   : least;
		if (end < at)
			end = (char *)at;
	}
	if (*end != '}')
		return refuse(translation, "a brace without a number");
	if (most < least)
		most = least;
	if (most > MAX_REPEAT || (translation->repeat *= most + 1) > MAX_REPEAT)
		return refuse(translation, "a repetition as long as this");
	text_append(&translation->out, translation->at,
		    (size_t)(end + 1 - translation->at));
	translation->at = end + 1;
	return 0;
}

/* "[": until its "]". */
static int translate_class(struct translation *translation)
{
	text_append(&translation->out, translation->at++, 1);
	if (*translation->at == '^')
		text_append(&translation->out, translation->at++, 1);
	if (*translation->at == ']')
		text_append(&translation->out, translation->at++, 1);
	translation->in_class = true;
	while (*translation->at && *translation->at != ']') {
		int r = 0;
		if (*translation->at == '\\')
			r = translate_escape(translation);
		else if (*translation->at == '[')
			r = refuse(translation, "a bracket within brackets");
		else
			text_append(&translation->out, translation->at++, 1);
		if (r < 0)
			return r;
	}
	translation->in_class = false;
	if (!*translation->at)
		return refuse(translation, "a bracket without its end");
	text_append(&translation->out, translation->at++, 1);
	return 0;
}

static int translate_one(struct translation *translation)
{
	switch (*translation->at) {
	case '\\':
		return translate_escape(translation);
	case '[':
		return translate_class(translation);
	case '{':
		return translate_brace(translation);
	case '(':
		if (++translation->depth > MAX_DEPTH)
			return refuse(translation, "such a nest of groups");
		text_puts(&translation->out, "(");
		translation->at++;
		if (strncmp(translation->at, "?:", 2) == 0)
			translation->at += 2;
		else if (*translation->at == '?')
			return refuse(translation, "'(?'");
		return 0;
	case ')':
		if (translation->depth-- == 0)
			return refuse(translation, "')' without '('");
		text_append(&translation->out, translation->at++, 1);
		return 0;
	case '*':
	case '+':
	case '?':
	case '}':
		text_append(&translation->out, translation->at, 1);
		break;
	default:
		text_append(&translation->out, translation->at++, 1);
		return 0;
	}

	/* Whether as much or as little as possible is no matter here. */
	translation->at++;
	if (*translation->at == '?')
		translation->at++;
	else if (*translation->at == '+' || *translation->at == '*')
		return refuse(translation, "a repetition of a repetition");
	return 0;
}

static int translate(const char *text, char **ret, struct error *err)
{
	struct translation translation = {
		.at = text,
		.repeat = 1,
		.err = err,
	};
	int r = 0;

	if (strlen(text) > MAX_LENGTH)
		return refuse(&translation, "a text as long as this");
	while (r == 0 && *translation.at)
		r = translate_one(&translation);
	if (r < 0) {
		text_done(&translation.out);
		return r;
	}
	*ret = text_take(&translation.out);
	return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static int compile(regex_t *regex, const char *before, const char *inner,
		   struct error *err)
{
	struct text text = {0};
	char why[128];
	text_printf(&text, "^%s(%s)$", before, inner);
	AUTO_FREE char *whole = text_take(&text);
	if (!whole)
		return error_set(err, -ENOMEM, "out of memory");

	int r = regcomp(regex, whole, REG_EXTENDED | REG_NOSUB);
	if (r == 0)
		return 0;
	regerror(r, regex, why, sizeof(why));
	return error_set(err, r == REG_ESPACE ? -ENOMEM : -EINVAL, "%s", why);
}

int pattern_new(const char *text, struct pattern **ret, struct error *err)
{
	AUTO_FREE char *inner = NULL;
	AUTO(pattern) pattern = calloc(1, sizeof(*pattern));
	if (!pattern)
		return error_set(err, -ENOMEM, "out of memory");

	int r = translate(text, &inner, err);
	if (r == 0)
		r = compile(&pattern->whole, "", inner, err);
	if (r < 0)
		return r;
	pattern->has_whole = true;
	r = compile(&pattern->end, "(.*\\.)?", inner, err);
	if (r < 0)
		return r;
	pattern->has_end = true;
	*ret = TAKE(pattern);
	return 0;
}

void pattern_free(struct pattern *pattern)
{
	if (!pattern)
		return;
	if (pattern->has_whole)
		regfree(&pattern->whole);
	if (pattern->has_end)
		regfree(&pattern->end);
	free(pattern);
}

bool pattern_matches(const struct pattern *pattern, const char *name)
{
	return regexec(&pattern->whole, name, 0, NULL, 0) == 0;
}

bool pattern_matches_end(const struct pattern *pattern, const char *name)
{
	return regexec(&pattern->end, name, 0, NULL, 0) == 0;
}
