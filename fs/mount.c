/*
 * mkfs-mount: mounts the merge that a recipe describes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/daemon.h"
#include "fs/log.h"
#include "fs/mountpoint.h"
#include "fs/options.h"
#include "fs/program.h"
#include "fs/readahead.h"
#include "fs/server.h"
#include "fs/session.h"
#include "fs/signals.h"
#include "fs/umount.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "util/text.h"

#define PROGRAM "mkfs-mount"

static const struct usage usage = {
	.command = COMMAND_MOUNT,
	.name = PROGRAM,
	.arguments = "RECIPE MOUNTPOINT",
	.n_arguments = 2,
	.summary = "Mounts the merge that a MergeKit recipe describes, as a "
		   "Hugging Face model directory\nwhose bytes are computed "
		   "when they are read. RECIPE may be a directory: then each "
		   "*.yaml\nin it becomes a folder of the mount.",
};

struct mounting {
	struct options options;
	char *mountpoint; /* resolved; owned */
	char *cache;	  /* absolute; owned */
	char *device;	  /* the recipe's resolved path; owned */
	struct merge *merge;
	struct log log;
	int ready; /* for daemon_ready(), or -1 */
};

/* The daemon works in another directory than the one it was started in. */
static int make_absolute(const char *path, char **ret)
{
	AUTO_FREE char *here = getcwd(NULL, 0);

	if (!here || asprintf(ret, "%s/%s", here, path) < 0)
		return -ENOMEM;
	return 0;
}

static int resolve_paths(struct mounting *mounting, struct error *err)
{
	struct options *options = &mounting->options;
	struct merge_options *merge = &options->merge;

	const char *path = options->arguments[1];
	int r = mountpoint_resolve(path, &mounting->mountpoint, err);
	if (r == -ENOENT)
		return error_set(err, r,
				 "%s: no such directory; make it first: "
				 "mkdir -p %s",
				 path, path);
	if (r < 0)
		return r;
	const char *cache = merge->cache;
	if (cache && *cache != '/' && strcmp(cache, "none") != 0) {
		r = make_absolute(cache, &mounting->cache);
		merge->cache = mounting->cache;
	}
	mounting->device = realpath(options->arguments[0], NULL);
	if (r < 0)
		return error_set(err, -ENOMEM, "out of memory");
	merge->recipe = options->arguments[0];
	return 0;
}

/* Everything that can be wrong before a mount is tried. */
static int judge(struct mounting *mounting, struct error *err)
{
	const struct options *options = &mounting->options;

	int r = resolve_paths(mounting, err);
	if (r == 0)
		r = mountpoint_judge(mounting->mountpoint, options->nonempty,
				     err);
	if (r == 0)
		r = mountpoint_judge_system(options->allow_other, err);
	if (r == 0)
		r = mountpoint_judge_cache(mounting->mountpoint,
					   options->merge.cache, err);
	if (r == 0)
		r = merge_open(&options->merge, &mounting->merge, err);
	if (r == 0)
		r = mountpoint_judge_merge(mounting->mountpoint,
					   mounting->merge, err);
	if (r < 0)
		return r;
	program_warn(PROGRAM, &mounting->merge->notes, 0);
	program_refused(PROGRAM, &mounting->merge->refused);
	return 0;
}

static void raise_readahead(struct mounting *mounting)
{
	char setting[64];

	if (readahead_raise(mounting->mountpoint, setting) < 0 && *setting)
		log_line(
			&mounting->log, LOG_INFO,
			"the kernel reads little ahead on this mount; root can "
			"raise that: echo %d > %s",
			READAHEAD_KB, setting);
}

/* The mount answers. */
static void say_ready(void *arg)
{
	struct mounting *mounting = arg;
	char size[16];

	raise_readahead(mounting);
	/* In the foreground, it is said already. */
	const struct notes *refused = &mounting->merge->refused;
	for (size_t i = 0; i < refused->n_lines; i++) {
		if (!mounting->options.foreground)
			log_line(&mounting->log, LOG_ERR, "left out: %s",
				 refused->lines[i]);
	}
	log_line(&mounting->log, LOG_INFO, "%s is mounted on %s: %s",
		 mounting->options.merge.recipe, mounting->mountpoint,
		 text_format_size(image_size(mounting->merge->image), size));
	if (mounting->ready >= 0)
		daemon_ready(mounting->ready);
	mounting->ready = -1;
}

static int serve(struct mounting *mounting, struct server *server,
		 struct error *err)
{
	AUTO(session) session = NULL;
	struct session_options options = {
		.device = mounting->device,
		.mountpoint = mounting->mountpoint,
		.mount = mounting->options.mount.data,
	};

	int r = session_open(server, &options, &session, err);
	if (r < 0)
		return r;
	r = session_serve(session, say_ready, mounting);
	if (r == -ETIMEDOUT) {
		log_line(&mounting->log, LOG_WARNING,
			 "%s: unmounted while reads were being computed",
			 mounting->mountpoint);
		umount_path(mounting->mountpoint, true);
		_exit(STATUS_DONE);
	}
	if (r < 0)
		return error_set(err, r, "cannot start threads: %s",
				 strerror(-r));
	log_line(&mounting->log, LOG_INFO, "%s is unmounted",
		 mounting->mountpoint);
	daemon_exit_within(SESSION_PATIENCE);
	return 0;
}

static int run(struct mounting *mounting, struct error *err)
{
	AUTO(server) server = NULL;
	size_t n_said = mounting->merge->notes.n_lines;

	signals_block();
	int r = merge_start(mounting->merge, err);
	if (r < 0)
		return r;
	program_warn(PROGRAM, &mounting->merge->notes, n_said);
	struct server_options options = {
		.merge = mounting->merge,
		.log = &mounting->log,
		.recipe = mounting->device,
		.mountpoint = mounting->mountpoint,
		.no_whole = mounting->options.no_whole,
	};
	r = server_new(&options, &server);
	if (r < 0)
		return error_set(err, r, "out of memory");
	return serve(mounting, server, err);
}

static int mount_merge(struct mounting *mounting)
{
	struct error err;

	int r = judge(mounting, &err);
	if (r == 0 && !mounting->options.foreground) {
		r = daemon_start(&mounting->ready);
		if (r < 0)
			error_set(&err, r, "cannot fork: %s", strerror(-r));
	}
	if (r < 0)
		return program_failed(PROGRAM, &err);

	log_init(&mounting->log, PROGRAM, mounting->options.foreground);
	r = run(mounting, &err);
	log_done(&mounting->log);
	return r < 0 ? program_failed(PROGRAM, &err) : STATUS_DONE;
}

int main(int argc, char **argv)
{
	struct mounting mounting = {.ready = -1};
	struct error err;
	int status;

	program_begin();
	int r = options_parse(&usage, argc, argv, &mounting.options, &err);
	if (r < 0) {
		status = program_misused(&usage, &err);
	} else if (mounting.options.help) {
		options_help(&usage, stdout);
		status = STATUS_DONE;
	} else if (mounting.options.version) {
		status = program_version(PROGRAM);
	} else {
		status = mount_merge(&mounting);
	}
	merge_close(mounting.merge);
	options_done(&mounting.options);
	free(mounting.mountpoint);
	free(mounting.cache);
	free(mounting.device);
	return status;
}
