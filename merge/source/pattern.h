/*
 * Regular expressions as adapters use them: Python's, as far as POSIX can say
 * the same.
 */
#ifndef MERGE_SOURCE_PATTERN_H
#define MERGE_SOURCE_PATTERN_H

#include <stdbool.h>

#include "util/error.h"
#include "util/macros.h"

struct pattern;

/*
 * -EINVAL with a clause for people: not a regular expression, or one with what
 * is not understood here (look-around, back-references, named groups, inline
 * flags, enormous repetitions).
 */
int pattern_new(const char *text, struct pattern **ret, struct error *err);
void pattern_free(struct pattern *pattern);
DEFINE_AUTO(pattern, pattern_free);

/* Does it match all of `name`? */
bool pattern_matches(const struct pattern *pattern, const char *name);

/* Or all of what follows the start or a dot of it? */
bool pattern_matches_end(const struct pattern *pattern, const char *name);

#endif
