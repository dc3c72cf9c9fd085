#include "util/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Names from hostile files may hold anything; a terminal must not see it. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			*text = '?';
	}
}

int error_set(struct error *err, int r, const char *format, ...)
{
	if (!err)
		return r;

	va_list args;
	va_start(args, format);
	vsnprintf(err->text, sizeof(err->text), format, args);
	va_end(args);
	make_printable(err->text);
	return r;
}

int error_prefix(struct error *err, int r, const char *format, ...)
{
	if (!err)
		return r;

	char text[sizeof(err->text)];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	strncat(text, ": ", sizeof(text) - strlen(text) - 1);
	strncat(text, err->text, sizeof(text) - strlen(text) - 1);
	memcpy(err->text, text, sizeof(text));
	make_printable(err->text);
	return r;
}

int notes_add(struct notes *notes, const char *format, ...)
{
	AUTO_FREE char *line = NULL;
	va_list args;
	va_start(args, format);
	int length = vasprintf(&line, format, args);
	va_end(args);
	if (length < 0) {
		line = NULL;
		return -ENOMEM;
	}
	make_printable(line);

	for (size_t i = 0; i < notes->n_lines; i++) {
		if (strcmp(notes->lines[i], line) == 0)
			return 0;
	}

	char **lines =
		reallocarray(notes->lines, notes->n_lines + 1, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	notes->lines = lines;
	lines[notes->n_lines++] = TAKE(line);
	return 0;
}

void notes_done(struct notes *notes)
{
	for (size_t i = 0; i < notes->n_lines; i++)
		free(notes->lines[i]);
	free(notes->lines);
	*notes = (struct notes){0};
}
