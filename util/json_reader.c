#include "util/json_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/utf8.h"

void json_reader_init(struct json_reader *reader, const char *text, size_t size,
		      const char *path, struct error *err)
{
	*reader = (struct json_reader){
		.text = text,
		.at = text,
		.end = text + size,
		.path = path,
		.err = err,
	};
}

void json_reader_done(struct json_reader *reader)
{
	free(reader->buffer);
	reader->buffer = NULL;
}

int json_reader_error(struct json_reader *reader, const char *what)
{
	unsigned line = 1;

	for (const char *p = reader->text; p < reader->at; p++)
		line += *p == '\n';
	return error_set(reader->err, -EINVAL, "%s:%u: %s", reader->path, line,
			 what);
}

static int not_json(struct json_reader *reader)
{
	return json_reader_error(reader, "not valid JSON");
}

char json_reader_peek(struct json_reader *reader)
{
	while (reader->at < reader->end &&
	       (*reader->at == ' ' || *reader->at == '\n' ||
		*reader->at == '\t' || *reader->at == '\r'))
		reader->at++;
	return reader->at < reader->end ? *reader->at : '\0';
}

int json_reader_enter(struct json_reader *reader, char open)
{
	if (json_reader_peek(reader) != open)
		return json_reader_error(reader,
					 open == '{' ? "should be an object"
						     : "should be an array");
	if (reader->depth == JSON_DEPTH)
		return json_reader_error(
			reader, "not valid JSON: it is nested too deep");
	reader->open[reader->depth].close = open == '{' ? '}' : ']';
	reader->open[reader->depth++].begun = false;
	reader->at++;
	return 0;
}

int json_reader_next(struct json_reader *reader)
{
	char close = reader->open[reader->depth - 1].close;
	bool *begun = &reader->open[reader->depth - 1].begun;

	char c = json_reader_peek(reader);
	if (c == close) {
		reader->depth--;
		reader->at++;
		return 0;
	}
	if (*begun) {
		if (c != ',')
			return not_json(reader);
		reader->at++;
		json_reader_peek(reader);
	}
	*begun = true;
	reader->element = reader->at;
	if (close == ']')
		return 1;
	int r = json_reader_string(reader);
	if (r < 0)
		return r;
	if (json_reader_peek(reader) != ':')
		return not_json(reader);
	reader->at++;
	return 1;
}

/* Up to the next quote or backslash; NULL where a byte may not be. */
static const char *plain_run(const char *p, const char *end)
{
	while (p < end) {
		unsigned char c = (unsigned char)*p;
		if (c == '"' || c == '\\')
			return p;
		if (c < 0x20)
			return NULL;
		if (c < 0x80) {
			p++;
			continue;
		}
		size_t n = utf8_sequence((const unsigned char *)p,
					 (size_t)(end - p));
		if (n == 0)
			return NULL;
		p += n;
	}
	return NULL;
}

static int hex4(const char *p, const char *end, uint32_t *ret)
{
	uint32_t value = 0;

	if (end - p < 4)
		return -EINVAL;
	for (unsigned i = 0; i < 4; i++) {
		char c = p[i];
		uint32_t digit =
			c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
			: c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
			: c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
					       : 16;
		if (digit == 16)
			return -EINVAL;
		value = value << 4 | digit;
	}
	*ret = value;
	return 0;
}

/* Behind "\u": one code point, of two escapes where it takes them. */
static int unicode_escape(const char **p, const char *end, uint32_t *ret)
{
	uint32_t low;

	if (hex4(*p, end, ret) < 0 || *ret == 0)
		return -EINVAL;
	*p += 4;
	if (*ret < 0xd800 || *ret > 0xdfff)
		return 0;
	if (*ret > 0xdbff || end - *p < 6 || (*p)[0] != '\\' ||
	    (*p)[1] != 'u' || hex4(*p + 2, end, &low) < 0 || low < 0xdc00 ||
	    low > 0xdfff)
		return -EINVAL;
	*p += 6;
	*ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
	return 0;
}

static int append(struct json_reader *reader, const char *data, size_t size)
{
	if (size >= reader->room - reader->length) {
		size_t room = 2 * (reader->length + size) + 64;
		char *buffer = realloc(reader->buffer, room);
		if (!buffer)
			return error_set(reader->err, -ENOMEM, "out of memory");
		reader->buffer = buffer;
		reader->room = room;
	}
	memcpy(reader->buffer + reader->length, data, size);
	reader->length += size;
	return 0;
}

/* At a backslash; appends what it stands for. */
static int escape(struct json_reader *reader)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	char out[4];
	uint32_t code;

	if (reader->end - reader->at < 2)
		return not_json(reader);
	char c = reader->at[1];
	reader->at += 2;
	if (c == 'u') {
		if (unicode_escape(&reader->at, reader->end, &code) < 0)
			return not_json(reader);
		return append(reader, out, utf8_encode(code, out));
	}
	const char *found = c ? strchr(from, c) : NULL;
	return found ? append(reader, &to[found - from], 1) : not_json(reader);
}

int json_reader_string(struct json_reader *reader)
{
	if (json_reader_peek(reader) != '"')
		return json_reader_error(reader, "should be a string");

	const char *begin = ++reader->at;
	const char *stop = plain_run(begin, reader->end);
	reader->length = 0;
	while (stop && *stop == '\\') {
		int r = append(reader, begin, (size_t)(stop - begin));
		reader->at = stop;
		if (r == 0)
			r = escape(reader);
		if (r < 0)
			return r;
		begin = reader->at;
		stop = plain_run(begin, reader->end);
	}
	if (!stop)
		return json_reader_error(
			reader, "not valid JSON: a string that does not end, "
				"or has bytes that may not be in it");
	reader->at = stop + 1;
	if (reader->length == 0) {
		reader->string = begin;
		reader->length = (size_t)(stop - begin);
		return 0;
	}
	int r = append(reader, begin, (size_t)(stop - begin));
	reader->string = reader->buffer;
	return r;
}

static int word(struct json_reader *reader, const char *expected)
{
	size_t n = strlen(expected);

	if ((size_t)(reader->end - reader->at) < n ||
	    memcmp(reader->at, expected, n) != 0)
		return not_json(reader);
	reader->at += n;
	return 0;
}

int json_reader_bool(struct json_reader *reader, bool *ret)
{
	char c = json_reader_peek(reader);

	if (c != 't' && c != 'f')
		return json_reader_error(reader, "should be true or false");
	*ret = c == 't';
	return word(reader, c == 't' ? "true" : "false");
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* *ret_whole: no sign, no fraction, no exponent. */
static int number(struct json_reader *reader, bool *ret_whole)
{
	const char *p = reader->at, *end = reader->end;

	*ret_whole = *p != '-';
	p += *p == '-';
	const char *whole = p;
	p = digits(p, end);
	if (p == whole || (*whole == '0' && p > whole + 1))
		return not_json(reader);
	if (p < end && *p == '.') {
		const char *fraction = ++p;
		*ret_whole = false;
		p = digits(p, end);
		if (p == fraction)
			return not_json(reader);
	}
	if (p < end && (*p == 'e' || *p == 'E')) {
		*ret_whole = false;
		p++;
		p += p < end && (*p == '+' || *p == '-');
		const char *exponent = p;
		p = digits(p, end);
		if (p == exponent)
			return not_json(reader);
	}
	reader->at = p;
	return 0;
}

int json_reader_u32(struct json_reader *reader, uint32_t *ret)
{
	char c = json_reader_peek(reader);
	const char *begin = reader->at;
	bool whole = false;

	if (c == '-' || (c >= '0' && c <= '9')) {
		int r = number(reader, &whole);
		if (r < 0)
			return r;
	}
	if (!whole || reader->at - begin > 10)
		return json_reader_error(reader, "should be a whole number");
	uint64_t value = 0;
	for (const char *p = begin; p < reader->at; p++)
		value = value * 10 + (uint64_t)(*p - '0');
	if (value > UINT32_MAX)
		return json_reader_error(reader, "should be a smaller number");
	*ret = (uint32_t)value;
	return 0;
}

int json_reader_skip(struct json_reader *reader)
{
	char c = json_reader_peek(reader);
	bool ignored;
	int r;

	switch (c) {
	case '{':
	case '[':
		r = json_reader_enter(reader, c);
		while (r == 0 && (r = json_reader_next(reader)) > 0)
			r = json_reader_skip(reader);
		return r;
	case '"':
		return json_reader_string(reader);
	case 't':
	case 'f':
		return json_reader_bool(reader, &ignored);
	case 'n':
		return word(reader, "null");
	default:
		return c == '-' || (c >= '0' && c <= '9')
			       ? number(reader, &ignored)
			       : not_json(reader);
	}
}

int json_reader_finish(struct json_reader *reader)
{
	return json_reader_peek(reader) || reader->at < reader->end
		       ? not_json(reader)
		       : 0;
}

bool json_reader_is(const struct json_reader *reader, const char *text)
{
	return strlen(text) == reader->length &&
	       memcmp(reader->string, text, reader->length) == 0;
}
