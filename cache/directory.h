/*
 * The directory that a disk cache lives in: made, and judged, before use.
 */
#ifndef CACHE_DIRECTORY_H
#define CACHE_DIRECTORY_H

#include "util/error.h"

/*
 * Opens the cache directory `path`, made with its parents (0700) and its format
 * file if it is missing or empty. Refused, with a sentence, and left as it is:
 * one that others may write to, that is of another format, or that holds
 * something else. *ret is a descriptor of the caller's.
 */
int directory_open(const char *path, int *ret, struct error *err);

/* The same, but one that is missing stays so and is an error. */
int directory_find(const char *path, int *ret, struct error *err);

/* Where the cache is when nobody says otherwise; malloc'ed, NULL if there is no
 * home or memory is out. */
char *directory_default(void);

#endif
