/*
 * The daemon's side of the control file (control.h).
 */
#ifndef FS_ANSWER_H
#define FS_ANSWER_H

#include <fuse_lowlevel.h>
#include <stddef.h>

struct server;

/* Answers an ioctl on the control file with a CONTROL_WARM in data. */
void answer_warm(struct server *server, fuse_req_t req, const void *data,
		 size_t size);

/* The status as JSON text, malloc'ed, or NULL when out of memory. */
char *answer_status(struct server *server);

#endif
