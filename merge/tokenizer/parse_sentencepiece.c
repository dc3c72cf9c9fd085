/*
 * tokenizer.model of SentencePiece, by its wire format: a message of fields,
 * each a tag (number << 3 | type) and a value. Field 1, repeated, is a piece;
 * its place is its id. The others are stepped over.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "merge/tokenizer/tokenizer_private.h"
#include "util/range.h"
#include "util/utf8.h"

enum wire {
	WIRE_VARINT = 0,
	WIRE_FIXED64 = 1,
	WIRE_BYTES = 2,
	WIRE_FIXED32 = 5,
};

struct message {
	const unsigned char *at, *end;
};

struct field {
	uint64_t number, value; /* value of a varint */
	enum wire wire;
	struct message bytes;
};

static bool varint(struct message *message, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (message->at == message->end)
			return false;
		unsigned char c = *message->at++;
		value |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool step(struct message *message, uint64_t size)
{
	if (size > (uint64_t)(message->end - message->at))
		return false;
	message->at += size;
	return true;
}

static bool next_field(struct message *message, struct field *field)
{
	uint64_t tag;

	if (!varint(message, &tag) || tag >> 3 == 0)
		return false;
	field->number = tag >> 3;
	field->wire = (enum wire)(tag & 7);
	switch (field->wire) {
	case WIRE_VARINT:
		return varint(message, &field->value);
	case WIRE_FIXED64:
		return step(message, 8);
	case WIRE_FIXED32:
		return step(message, 4);
	case WIRE_BYTES:
		if (!varint(message, &field->value))
			return false;
		field->bytes.at = message->at;
		if (!step(message, field->value))
			return false;
		field->bytes.end = message->at;
		return true;
	}
	return false;
}

/* What a piece's type makes of it: unknown, control and user-defined pieces are
 * what loaders add as tokens of their own. */
static uint32_t flags_of(uint64_t type)
{
	switch (type) {
	case 2:
	case 3:
		return TOKEN_MODEL | TOKEN_ADDED | TOKEN_SPECIAL;
	case 4:
		return TOKEN_MODEL | TOKEN_ADDED;
	default:
		return TOKEN_MODEL;
	}
}

static bool is_utf8(const struct message *text)
{
	const unsigned char *p = text->at;

	while (p < text->end) {
		size_t n = utf8_sequence(p, (size_t)(text->end - p));
		if (n == 0 || *p == '\0')
			return false;
		p += n;
	}
	return true;
}

/* What is wrong with the piece, or NULL. */
static const char *put_piece(struct tokenizer *tokenizer, struct message piece,
			     int *ret)
{
	struct message text = {0};
	uint64_t type = 1;
	struct field field;
	struct token *token;

	while (piece.at < piece.end) {
		if (!next_field(&piece, &field))
			return "is cut";
		if (field.number == 1 && field.wire == WIRE_BYTES)
			text = field.bytes;
		else if (field.number == 3 && field.wire == WIRE_VARINT)
			type = field.value;
	}
	if (text.at == text.end)
		return "has no text";
	if (!is_utf8(&text))
		return "is not UTF-8";
	*ret = tokenizer_put(tokenizer, (const char *)text.at,
			     (size_t)(text.end - text.at), tokenizer->n_tokens,
			     flags_of(type), &token);
	return *ret == 0 ? "stands there twice" : NULL;
}

int tokenizer_parse_sentencepiece(const char *data, size_t size,
				  const char *path, struct tokenizer **ret,
				  struct error *err)
{
	AUTO(tokenizer) tokenizer = calloc(1, sizeof(*tokenizer));
	struct message message = {
		.at = (const unsigned char *)data,
		.end = (const unsigned char *)data + size,
	};
	struct field field;
	if (!tokenizer)
		return error_set(err, -ENOMEM, "out of memory");

	tokenizer->file = "tokenizer.model";
	while (message.at < message.end) {
		const char *why = "is cut";
		int r = 1;
		if (!next_field(&message, &field))
			return error_set(
				err, -EINVAL,
				"%s: not a SentencePiece model: "
				"garbled at byte %td",
				path, message.at - (const unsigned char *)data);
		if (field.number != 1)
			continue;
		if (field.wire == WIRE_BYTES)
			why = put_piece(tokenizer, field.bytes, &r);
		if (r < 0)
			return error_set(err, r, "%s: %s", path, strerror(-r));
		if (why)
			return error_set(err, -EINVAL, "%s: piece %u %s", path,
					 tokenizer->n_tokens, why);
	}
	int r = tokenizer_seal(tokenizer, path, err);
	if (r < 0)
		return r;
	*ret = TAKE(tokenizer);
	return 0;
}
