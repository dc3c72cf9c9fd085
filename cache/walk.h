/*
 * The files of a cache directory, one after the other, whoever put them there.
 */
#ifndef CACHE_WALK_H
#define CACHE_WALK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/hash.h"

enum walk_kind {
	WALK_FOREIGN,	/* nothing of ours; to be left alone */
	WALK_BLOCK,	/* named by its key */
	WALK_WHOLE,	/* see whole.h */
	WALK_MARK,	/* what is known of a whole file, which it goes with */
	WALK_TEMPORARY, /* being written, or left behind by a crash */
};

struct walk_file {
	enum walk_kind kind;
	int folder;	   /* descriptor of the folder it is in */
	const char *name;  /* in that folder */
	struct digest key; /* of a block or a whole file */
	struct stat st;
	struct timespec used; /* mtime; of a whole file, that of its mark */
};

/* What it takes on disk, in bytes. */
uint64_t walk_space(const struct walk_file *file);

/* Is it a temporary file that nobody writes any more, or a mark of nothing? */
bool walk_abandoned(const struct walk_file *file);

/* Removes a file, and with a whole one its mark. 0 or a negative errno. */
int walk_remove(const struct walk_file *file);

/* 0 to go on; anything else ends the walk and is returned. */
typedef int walk_fn(void *arg, const struct walk_file *file);

/*
 * Calls visit for every plain file in the folders of blocks, in no order, while
 * others may come and go. dir: descriptor of the directory. Folders that cannot
 * be read are passed over.
 */
int walk_files(int dir, walk_fn *visit, void *arg);

/* "ab/cdef...": a folder by the first byte of the key, a file by the rest. */
#define WALK_PATH_SIZE 48
void walk_path(struct digest key, char path[WALK_PATH_SIZE]);

/* Behind the name of the key, of a whole file and of its mark. */
#define WALK_WHOLE_SUFFIX ".file"
#define WALK_MARK_SUFFIX ".mark"

#endif
