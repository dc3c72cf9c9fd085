#include "merge/tokenizer/edit.h"

void edit_init(struct edit *edit, const struct json_reader *reader)
{
	*edit = (struct edit){.copied = reader->text};
}

void edit_replace(struct edit *edit, const char *begin, const char *end,
		  const char *by, size_t size)
{
	text_append(&edit->out, edit->copied, (size_t)(begin - edit->copied));
	text_append(&edit->out, by, size);
	edit->copied = end;
}

char *edit_take(struct edit *edit, const struct json_reader *reader)
{
	edit_replace(edit, reader->end, reader->end, "", 0);
	return text_take(&edit->out);
}

void edit_list_begin(struct edit_list *list, const struct json_reader *reader)
{
	*list = (struct edit_list){.kept = reader->at, .end = reader->at};
}

void edit_list_element(struct edit *edit, struct edit_list *list,
		       const struct json_reader *reader, bool keep)
{
	if (keep) {
		/* Something before it was left out. */
		if (list->end != list->kept)
			edit_replace(edit, list->kept, reader->element, ",",
				     list->any);
		list->kept = reader->at;
		list->any = true;
	}
	list->end = reader->at;
}

void edit_list_end(struct edit *edit, struct edit_list *list,
		   const struct text *more)
{
	if (list->kept == list->end && more->length == 0)
		return;
	edit_replace(edit, list->kept, list->end, ",",
		     list->any && more->length > 0);
	text_append(&edit->out, more->data, more->length);
}
