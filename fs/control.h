/*
 * The control file of a mount: CONTROL_NAME in its root, found by those who
 * know its name but in no listing. Only the mounting user and root may open it.
 *
 * Read, it is the mount's status as JSON, made when it is opened. By ioctl it
 * takes commands: the mount is read-only, so writing is refused by the kernel.
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <stdint.h>
#include <sys/ioctl.h>

#define CONTROL_NAME ".mkfs-mount"

struct server;

/* The status as JSON text, malloc'ed, or NULL when out of memory. */
char *control_status(struct server *server);

#endif
