/*
 * What the FUSE callbacks serve: the entries of an image, by inode.
 *
 * An inode number is an entry's index + 1, generation 0: the same in every
 * mount of the same recipe. Metadata is answered where it is asked; data is
 * asked of the image, and whichever thread brings it replies.
 */
#ifndef FS_SERVER_H
#define FS_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/pressure.h"
#include "util/macros.h"

struct assembler;
struct backings;
struct fuse_session;
struct image_entry;
struct log;
struct merge;
struct reads;
struct streams;

struct server {
	const struct merge *merge;	   /* borrowed, started */
	struct log *log;		   /* borrowed */
	const char *recipe, *mountpoint;   /* for people; borrowed */
	struct timespec began;		   /* monotonic */
	const struct image_entry *entries; /* (n_entries,) the image's */
	uint32_t n_entries;
	struct timespec time; /* of all entries */
	uid_t uid;
	gid_t gid;
	struct reads *reads;	       /* owned */
	struct streams *streams;       /* owned */
	struct pressure pressure;      /* of memory, on the machine */
	struct backings *backings;     /* owned */
	struct assembler *assembler;   /* owned; NULL: none is needed */
	struct fuse_session *fuse;     /* borrowed; NULL before the mount */
	atomic_uint_fast64_t n_pushed; /* bytes put into the page cache */
	atomic_bool ready;	       /* the kernel has said hello */
};

struct server_options {		   /* all borrowed */
	const struct merge *merge; /* started */
	struct log *log;
	const char *recipe, *mountpoint; /* for people */
	bool no_whole;			 /* without an assembler */
};

int server_new(const struct server_options *options, struct server **ret);

/* No read may be in flight. */
void server_free(struct server *server);
DEFINE_AUTO(server, server_free);

/* NULL for a number that is no inode. */
const struct image_entry *server_entry(const struct server *server,
				       uint64_t ino);
uint64_t server_ino(const struct server *server,
		    const struct image_entry *entry);
/* The inode of the control file (control.h), which is no entry. */
uint64_t server_control_ino(const struct server *server);
void server_stat_control(const struct server *server, struct stat *ret);

/* A descriptor of a file with the bytes of the entry: see backing.h. arg is the
 * server. */
int server_find_backing(void *arg, uint32_t entry, bool *ret_close);
/* Prepares a file that nobody has open for the usual road. arg as above. */
void server_prepare(void *arg, uint32_t entry);
void server_stat(const struct server *server, const struct image_entry *entry,
		 struct stat *ret);

#endif
