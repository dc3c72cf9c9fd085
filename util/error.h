/*
 * The sentence a person gets when something they wrote is wrong.
 *
 * Code decides by the negative errno that every fallible function returns;
 * people decide by this sentence. It has one line, no full stop, and begins
 * with the place it speaks of ("FILE:LINE: ...", "FILE: ...").
 */
#ifndef UTIL_ERROR_H
#define UTIL_ERROR_H

#include <stdarg.h>
#include <stddef.h>

#include "util/macros.h"

struct error {
	char text[1024]; /* longer sentences are cut */
};

/*
 * Writes the sentence and returns r, so that callers end in
 * `return error_set(err, -EINVAL, ...)`. err may be NULL. Control characters
 * that come from files are replaced by '?'.
 */
int error_set(struct error *err, int r, const char *format, ...) PRINTF(3, 4);

/* Puts "prefix: " before a sentence that is already there. Returns r. */
int error_prefix(struct error *err, int r, const char *format, ...)
	PRINTF(3, 4);

/* Remarks that stop nothing: warnings in the order they arose. */
struct notes {
	char **lines; /* (n_lines,) owned */
	size_t n_lines;
};

/* Returns 0 or -ENOMEM; a line that is there already is not added again. */
int notes_add(struct notes *notes, const char *format, ...) PRINTF(2, 3);
void notes_done(struct notes *notes);

#endif
