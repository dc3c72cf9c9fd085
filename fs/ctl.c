/*
 * mkfs-ctl: everything about merges but mounting them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/attach.h"
#include "fs/cachecmd.h"
#include "fs/check.h"
#include "fs/explain.h"
#include "fs/export.h"
#include "fs/options.h"
#include "fs/program.h"
#include "fs/signals.h"
#include "fs/status.h"
#include "fs/umount.h"
#include "fs/vocabulary.h"
#include "fs/warm.h"
#include "merge/engine/plan.h"
#include "merge/output/image.h"
#include "merge/output/merge.h"
#include "util/text.h"

#define PROGRAM "mkfs-ctl"

static int open_merge(const struct options *options, struct merge **ret,
		      struct error *err)
{
	int r = merge_open(&options->merge, ret, err);

	if (r < 0)
		return r;
	program_warn(PROGRAM, &(*ret)->notes, 0);
	program_refused(PROGRAM, &(*ret)->refused);
	return 0;
}

static int flush_output(struct error *err)
{
	return fflush(stdout) == 0
		       ? 0
		       : error_set(err, -errno, "standard output: %s",
				   strerror(errno));
}

static int run_check(struct options *options, struct error *err)
{
	AUTO(merge) merge = NULL;

	options->merge.recipe = options->arguments[0];
	options->merge.look = true;
	int r = open_merge(options, &merge, err);
	if (r < 0)
		return r;
	r = check_print(merge, options->json, stdout);
	if (r < 0)
		return error_set(err, r, "out of memory");
	r = flush_output(err);
	if (r == 0 && merge->refused.n_lines > 0)
		r = error_set(err, -EINVAL, "%s: %zu of %zu recipes refused",
			      options->merge.recipe, merge->refused.n_lines,
			      merge->refused.n_lines + merge->n_parts);
	return r;
}

static int run_explain(struct options *options, struct error *err)
{
	AUTO(merge) merge = NULL;
	const char *name = options->arguments[1];
	const struct output_tensor *tensor = NULL;

	options->merge.recipe = options->arguments[0];
	options->merge.look = true;
	int r = open_merge(options, &merge, err);
	if (r == 0 && merge->is_directory)
		r = error_set(err, -EISDIR,
			      "%s: is a directory; one of its recipes can be "
			      "explained",
			      options->merge.recipe);
	if (r == 0 && options->token) {
		r = vocabulary_explain(merge, options->token, options->json,
				       stdout, err);
		return r < 0 ? r : flush_output(err);
	}
	if (r == 0 && name)
		r = explain_find(merge, name, &tensor, err);
	if (r == 0 && name)
		r = merge_start(merge, err);
	if (r < 0)
		return r;
	r = name ? explain_tensor(merge, tensor, options->scan, options->json,
				  stdout, err)
		 : explain_all(merge, options->json, stdout, err);
	return r < 0 ? r : flush_output(err);
}

static int run_export(struct options *options, struct error *err)
{
	AUTO(merge) merge = NULL;
	const char *directory = options->arguments[1];

	options->merge.recipe = options->arguments[0];
	/* What is written out once needs no second copy. */
	if (!options->merge.cache)
		options->merge.cache = "none";
	int r = open_merge(options, &merge, err);
	if (r == 0)
		r = export_judge(directory, image_size(merge->image), err);
	if (r < 0)
		return r;

	signals_block();
	r = merge_start(merge, err);
	if (r == 0)
		r = export_merge(merge, directory, err);
	if (r == -EINTR) {
		fprintf(stderr, "%s: interrupted; nothing is left of %s\n",
			PROGRAM, directory);
		_exit(STATUS_FAILED);
	}
	return r;
}

static int run_umount(struct options *options, struct error *err)
{
	return umount_merge(options->arguments[0], err);
}

static int warm_recipe(struct options *options, const struct warm_options *warm,
		       struct error *err)
{
	AUTO(merge) merge = NULL;

	options->merge.recipe = options->arguments[0];
	int r = open_merge(options, &merge, err);
	if (r < 0)
		return r;
	size_t n_said = merge->notes.n_lines;
	r = merge_start(merge, err);
	if (r < 0)
		return r;
	program_warn(PROGRAM, &merge->notes, n_said);
	return warm_merge(merge, warm, err);
}

static int run_warm(struct options *options, struct error *err)
{
	struct warm_options warm = {.pattern = options->tensors};
	const char *path = options->arguments[0];
	AUTO_CLOSE int mount = -1;
	int r = 0;

	if (options->part)
		r = warm_parse_part(options->part, &warm, err);
	if (r < 0)
		return r;
	signals_block();
	r = attach_open(path, &mount, err);
	/* A mount that is not ours, or does not answer, is no recipe. */
	if (r == -EACCES || r == -ENOTCONN)
		return r;
	r = r == 0 ? warm_mount(path, &warm, err)
		   : warm_recipe(options, &warm, err);
	if (r == -EINTR)
		return error_set(err, r,
				 "interrupted; what was computed is kept, and "
				 "the same command goes on from there");
	return r;
}

static int run_status(struct options *options, struct error *err)
{
	const char *path = options->arguments[0];
	enum status_form form = options->prometheus ? STATUS_PROMETHEUS
				: options->json	    ? STATUS_JSON
						    : STATUS_TEXT;

	int r = path ? status_print(path, form, stdout, err)
		     : status_list(stdout, err);
	if (r == 0 && fflush(stdout) != 0)
		return error_set(err, -errno, "standard output: %s",
				 strerror(errno));
	return r;
}

static int run_cache(struct options *options, struct error *err)
{
	int r = cache_command(options, stdout, err);

	return r < 0 ? r : flush_output(err);
}

struct ctl_command {
	struct usage usage;
	int (*run)(struct options *options, struct error *err);
};

static const struct ctl_command commands[] = {
	{{COMMAND_CHECK, "mkfs-ctl check", "RECIPE", 1, 0,
	  "Says what would be mounted and how it is made; reads no weights. "
	  "RECIPE may be a\ndirectory of recipes."},
	 run_check},
	{{COMMAND_EXPLAIN, "mkfs-ctl explain", "RECIPE [TENSOR]", 2, 1,
	  "Says how a tensor is made, or all of them in groups."},
	 run_explain},
	{{COMMAND_EXPORT, "mkfs-ctl export", "RECIPE DIR", 2, 0,
	  "Writes the merge to a new directory, without FUSE; of a directory "
	  "of recipes, each\nto a folder of its name."},
	 run_export},
	{{COMMAND_STATUS, "mkfs-ctl status", "[MOUNT]", 1, 1,
	  "Shows what a mount has done so far; without MOUNT, where merges are "
	  "mounted."},
	 run_status},
	{{COMMAND_WARM, "mkfs-ctl warm", "RECIPE|MOUNT", 1, 0,
	  "Computes a merge into the cache, so that its readers need not wait; "
	  "what is there\nalready is left as it is."},
	 run_warm},
	{{COMMAND_CACHE, "mkfs-ctl cache", "ls|gc|verify|clear", 1, 0,
	  "Shows what is in the cache on disk; removes the blocks used least "
	  "for its budget;\nreads all of it and removes bad blocks; empties "
	  "it."},
	 run_cache},
	{{COMMAND_UMOUNT, "mkfs-ctl umount", "MOUNT", 1, 0,
	  "Unmounts a merge."},
	 run_umount},
};

static const struct usage usage = {
	.name = PROGRAM,
	.arguments = "COMMAND ...",
	.summary = "Checks, explains, exports, warms, watches and unmounts "
		   "merges.",
};

static void print_help(void)
{
	printf("Usage: %s COMMAND [options] ...\n\nCommands:\n", PROGRAM);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %s %s\n      %s\n", commands[i].usage.name,
		       commands[i].usage.arguments, commands[i].usage.summary);
	printf("\nTry 'mkfs-ctl COMMAND --help' for its options.\n");
}

static int run(const struct ctl_command *command, int argc, char **argv)
{
	struct options options;
	struct error err;
	int status = STATUS_DONE;

	int r = options_parse(&command->usage, argc, argv, &options, &err);
	if (r < 0)
		status = program_misused(&command->usage, &err);
	else if (options.help)
		options_help(&command->usage, stdout);
	else if (options.version)
		status = program_version(PROGRAM);
	else if (command->run(&options, &err) < 0)
		status = program_failed(PROGRAM, &err);
	options_done(&options);
	return status;
}

static int misused(const char *word)
{
	const char *names[ARRAY_SIZE(commands) + 1] = {0};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		names[i] = commands[i].usage.name + strlen(PROGRAM " ");
	const char *near = word ? text_nearest(word, names) : NULL;
	if (!word)
		error_set(&err, -EINVAL, "a command is missing");
	else if (near)
		error_set(&err, -EINVAL, "no command '%s'; did you mean %s?",
			  word, near);
	else
		error_set(&err, -EINVAL, "no command '%s'", word);
	return program_misused(&usage, &err);
}

int main(int argc, char **argv)
{
	const char *word = argc > 1 ? argv[1] : NULL;

	program_begin();
	if (word && (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)) {
		print_help();
		return STATUS_DONE;
	}
	if (word && (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0))
		return program_version(PROGRAM);
	for (size_t i = 0; word && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].usage.name + strlen(PROGRAM " "),
			   word) == 0)
			return run(&commands[i], argc - 1, argv + 1);
	}
	return misused(word);
}
