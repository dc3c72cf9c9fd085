/*
 * What running mounts say of themselves, printed for people and programs.
 */
#ifndef FS_STATUS_H
#define FS_STATUS_H

#include <stdio.h>

#include "util/error.h"

enum status_form {
	STATUS_TEXT,
	STATUS_JSON,
	STATUS_PROMETHEUS, /* its text exposition format */
};

/* The status of the merge mounted on path. */
int status_print(const char *path, enum status_form form, FILE *out,
		 struct error *err);

/* The mount points of all merges that this process sees, one a line. */
int status_list(FILE *out, struct error *err);

#endif
