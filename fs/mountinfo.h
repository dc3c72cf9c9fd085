/*
 * What is mounted where, by /proc/self/mountinfo.
 */
#ifndef FS_MOUNTINFO_H
#define FS_MOUNTINFO_H

#include <stdio.h>

struct mount_entry {
	char *path; /* unescaped; owned */
	char *type; /* "fuse.mkfs-mount"; owned */
};

/*
 * The topmost mount on a path, which must be absolute and without links. 0,
 * -ENOENT when nothing is mounted there, or another errno. table is the text of
 * a mountinfo, or NULL for this process's.
 */
int mountinfo_find(FILE *table, const char *path, struct mount_entry *ret);

/* Calls see() for every mount, in their order; what it gets is only lent. */
int mountinfo_each(FILE *table,
		   void (*see)(void *arg, const struct mount_entry *entry),
		   void *arg);

void mount_entry_done(struct mount_entry *entry);

#endif
