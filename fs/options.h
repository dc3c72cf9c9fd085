/*
 * The command lines of both programs, by one table of options.
 *
 * Every long option may be given as `--name value`, `--name=value`, or (to
 * mkfs-mount) as `-o name=value`, so that all of them can stand in fstab. Mount
 * options that are not ours go on to libfuse; those by which fstab speaks to
 * others are dropped.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include "merge/output/merge.h"
#include "util/error.h"
#include "util/text.h"

enum command {
	COMMAND_NONE,
	COMMAND_MOUNT = 1,
	COMMAND_CHECK = 2,
	COMMAND_EXPORT = 4,
	COMMAND_UMOUNT = 8,
	COMMAND_EXPLAIN = 16,
	COMMAND_STATUS = 64,
	COMMAND_WARM = 128,
	COMMAND_CACHE = 256,
};

struct usage { /* one row for each program, or command of one */
	enum command command;
	const char *name;      /* "mkfs-ctl export" */
	const char *arguments; /* "RECIPE DIR" */
	unsigned n_arguments;
	unsigned n_optional; /* of these, at the end */
	const char *summary; /* a sentence */
};

#define MAX_ARGUMENTS 2

struct options {
	struct merge_options merge; /* but for the recipe */
	bool foreground, json, prometheus, scan, help, version;
	const char *tensors, *part; /* of warm, as they were given */
	const char *token;	    /* of explain */
	bool no_whole;		    /* see fs/assembler.h */
	bool nonempty;		    /* the mount point may have files in it */
	bool allow_other;	    /* is among the mount options, too */
	struct text mount; /* for libfuse, comma-separated and escaped; owned */
	const char *arguments[MAX_ARGUMENTS];
};

/*
 * Reads argv[1 .. argc). Texts in *ret point into argv, which is changed. With
 * --help or --version nothing else is judged. -EINVAL with a sentence; *ret
 * needs options_done() either way.
 */
int options_parse(const struct usage *usage, int argc, char **argv,
		  struct options *ret, struct error *err);
void options_done(struct options *options);

/* Usage, options and, for commands that read recipes, the merge methods. */
void options_help(const struct usage *usage, FILE *out);

#endif
