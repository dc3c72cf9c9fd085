/*
 * A JSON text copied while elements of its lists and objects are left out or
 * added, every other byte as it was. A json_reader walks the text; edits are
 * told in its order.
 */
#ifndef MERGE_TOKENIZER_EDIT_H
#define MERGE_TOKENIZER_EDIT_H

#include <stdbool.h>

#include "util/json_reader.h"
#include "util/text.h"

struct edit {
	const char *copied; /* up to here the text is in out */
	struct text out;
};

/* A list or an object that the reader has entered. */
struct edit_list {
	const char *kept; /* behind the last element that stays, or the bracket
			   */
	const char *end;  /* behind the last element */
	bool any;	  /* something stays */
};

void edit_init(struct edit *edit, const struct json_reader *reader);

/* Replaces [begin, end) of the text. */
void edit_replace(struct edit *edit, const char *begin, const char *end,
		  const char *by, size_t size);

/* The whole edited text, or NULL if out of memory. Empties edit. */
char *edit_take(struct edit *edit, const struct json_reader *reader);

void edit_list_begin(struct edit_list *list, const struct json_reader *reader);

/* The element that the reader has just read. */
void edit_list_element(struct edit *edit, struct edit_list *list,
		       const struct json_reader *reader, bool keep);

/* Behind the last element: adds `more`, elements with commas between them. */
void edit_list_end(struct edit *edit, struct edit_list *list,
		   const struct text *more);

#endif
