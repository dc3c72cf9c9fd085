/*
 * JSON read once, front to back, without a tree: for files of millions of
 * values, of which few are wanted.
 *
 * The grammar and the refusals are json.h's, but for a key that stands twice,
 * which is the caller's to notice. The text is borrowed and needs no NUL at its
 * end. Not for several threads at once.
 */
#ifndef UTIL_JSON_READER_H
#define UTIL_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"

#define JSON_DEPTH 64

struct json_reader {
	const char *text, *at, *end; /* the next byte is *at, unless at end */
	const char *path;	     /* for sentences; borrowed */
	struct error *err;

	const char *element; /* where what json_reader_next() told of begins */

	/* Of the last string or key: in the text or in buffer, no NUL behind
	 * it; valid until the next one. */
	const char *string;
	size_t length;

	char *buffer; /* owned, as are all below */
	size_t room;
	unsigned depth;
	struct {
		char close; /* that ends it */
		bool begun; /* an element was read */
	} open[JSON_DEPTH];
};

void json_reader_init(struct json_reader *reader, const char *text, size_t size,
		      const char *path, struct error *err);
void json_reader_done(struct json_reader *reader);

/* First byte of the value that comes: '{' '[' '"' 't' 'f' 'n', '-' or a digit;
 * 0 at the end of the text. */
char json_reader_peek(struct json_reader *reader);

/*
 * All below return 0 or -EINVAL, -ENOMEM with a sentence. A value must be
 * consumed by exactly one of them.
 */

/* The value must be an object ('{') or an array ('['); goes inside. */
int json_reader_enter(struct json_reader *reader, char open);

/* 1: another element comes, of an object its key is read; 0: that was the
 * last one, and we are outside again. */
int json_reader_next(struct json_reader *reader);
int json_reader_string(struct json_reader *reader);
int json_reader_bool(struct json_reader *reader, bool *ret);

/* A whole number without sign, fraction and exponent, below 2^32. */
int json_reader_u32(struct json_reader *reader, uint32_t *ret);
int json_reader_skip(struct json_reader *reader);

/* Nothing but white space may be left. */
int json_reader_finish(struct json_reader *reader);

/* "PATH:LINE: what". Returns -EINVAL. */
int json_reader_error(struct json_reader *reader, const char *what);

/* Is the last string this one? */
bool json_reader_is(const struct json_reader *reader, const char *text);

#endif
