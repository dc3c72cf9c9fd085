/*
 * A progress bar on stderr, if that is a terminal: percent, bytes, rate, time
 * left.
 */
#ifndef FS_PROGRESS_H
#define FS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	bool shown;
	uint64_t total, done; /* bytes */
	double began, drawn;  /* seconds, monotonic */
};

void progress_begin(struct progress *progress, uint64_t total);
void progress_add(struct progress *progress, uint64_t size);

/* Clears the line. */
void progress_end(struct progress *progress);

/* The line without its bar's terminal codes, `seconds` after the beginning. */
void progress_format(const struct progress *progress, double seconds,
		     char *line, size_t room);

#endif
