/*
 * The files by which the output is a tokenizer, in place of the donor's.
 */
#ifndef MERGE_TOKENIZER_OUTPUT_H
#define MERGE_TOKENIZER_OUTPUT_H

#include <stddef.h>

#include "util/error.h"

struct companion;
struct source;
struct vocabulary;

/* What the files are to say. */
struct tokenizer_output {
	const struct vocabulary *vocabulary; /* NULL: the donor's own */
	const char *chat_template;	     /* NULL: left as it is */
};

/*
 * Takes the donor's companions, *companions (*n,), and makes them the output's:
 * a tokenizer of another model replaces the donor's, files are edited where
 * tokens or the template differ, what would contradict them is left out with a
 * note. The list stays sorted by path.
 */
int tokenizer_output(const struct tokenizer_output *output,
		     const struct source *donor, struct companion **companions,
		     size_t *n, struct notes *notes, struct error *err);

#endif
