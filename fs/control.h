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

/*
 * Fills the cache ahead: one step (warm.h) of the tensors that are named. Busy:
 * nothing was done, since readers are served or the disk is behind; ask again
 * soon.
 */
struct control_warm {
	char pattern[512]; /* "": all */
	uint32_t part, n_parts;
	uint64_t position, next, total; /* bytes */
	uint64_t waiting;		/* bytes not stored yet */
	uint32_t busy;
	int32_t error; /* negative errno: a block could not be made */
};
#define CONTROL_WARM _IOWR('m', 1, struct control_warm)

#endif
