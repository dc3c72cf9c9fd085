/*
 * Growing text, and the nearest word for "did you mean".
 */
#ifndef UTIL_TEXT_H
#define UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "util/macros.h"

/*
 * Invariants: data is NULL or NUL-ended, length counts the bytes before the
 * NUL. After an allocation failed every further call is a no-op and
 * text_take() gives NULL, so that one check at the end is enough.
 */
struct text {
	char *data; /* owned */
	size_t length, room;
	bool failed;
};

void text_append(struct text *text, const char *data, size_t size);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) PRINTF(2, 3);

/* Hands out the string ("" if nothing was written), or NULL. Empties text. */
char *text_take(struct text *text);
void text_done(struct text *text);

/*
 * The word of `words` (NULL-ended) nearest to `word` by edit distance (case,
 * and - for _, aside), else one that begins with it; NULL if none is near
 * enough to be worth suggesting.
 */
const char *text_nearest(const char *word, const char *const *words);

/* Does text end in `ending`, or in one of n? */
bool text_ends(const char *text, const char *ending);
bool text_ends_any(const char *text, const char *const *endings, size_t n);

/* Compares as people count: runs of digits by value ("layers.2" < "layers.10").
 */
int text_compare_natural(const char *a, const char *b);

/* "5G", "512M", "1.5Gi", "4096": bytes. K M G T are powers of 1000, Ki .. Ti
 * of 1024, a B behind them is allowed. -EINVAL or -ERANGE. */
int text_parse_size(const char *text, unsigned long long *ret);

/* "1.31 GB": powers of 1000, three digits. Returns buffer. */
char *text_format_size(unsigned long long size, char buffer[16]);

#endif
