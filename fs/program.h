/*
 * How a program speaks to the person at its terminal, and with what status it
 * ends: 0 done, 1 something failed, 2 wrong usage.
 */
#ifndef FS_PROGRAM_H
#define FS_PROGRAM_H

#include "util/error.h"

struct merge;
struct usage;

enum {
	STATUS_DONE = 0,
	STATUS_FAILED = 1,
	STATUS_USAGE = 2,
};

/* First of all: one heap for all threads; and where standard descriptors are
 * closed, opens them, so that no other file gets their numbers and what is
 * meant for them. */
void program_begin(void);

/* Each prints a sentence and returns its status. */
int program_failed(const char *program, const struct error *err);
int program_misused(const struct usage *usage, const struct error *err);
int program_version(const char *program);

/* Prints notes, from the line `first` on. */
void program_warn(const char *program, const struct notes *notes, size_t first);

/* Prints why recipes of a directory are left out. */
void program_refused(const char *program, const struct notes *refused);

#endif
