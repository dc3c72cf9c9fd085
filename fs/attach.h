/*
 * The way to a running mount: its control file (control.h).
 */
#ifndef FS_ATTACH_H
#define FS_ATTACH_H

#include "util/error.h"

/* Opens the control file of the merge mounted on path; *ret is the caller's. */
int attach_open(const char *path, int *ret, struct error *err);

#endif
