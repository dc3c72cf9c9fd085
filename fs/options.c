#include "fs/options.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "merge/methods/method.h"

enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char * */
	OPTION_SIZE,   /* uint64_t, with a unit */
	OPTION_NUMBER, /* uint64_t */
	OPTION_COUNT,  /* unsigned, at least 1 */
};

struct option_row {
	const char *name;
	char letter; /* 0: none */
	enum option_kind kind;
	const char *value; /* its name in the help */
	const char *summary;
	size_t place; /* in struct options */
	unsigned commands;
};

#define MERGE                                                               \
	(COMMAND_MOUNT | COMMAND_CHECK | COMMAND_EXPORT | COMMAND_EXPLAIN | \
	 COMMAND_WARM)
#define ALL (MERGE | COMMAND_UMOUNT | COMMAND_STATUS | COMMAND_CACHE)
#define PLACE(field) offsetof(struct options, field)

static const struct option_row rows[] = {
	{"foreground", 'f', OPTION_FLAG, NULL, "stay, and log to stderr",
	 PLACE(foreground), COMMAND_MOUNT},
	{"json", 0, OPTION_FLAG, NULL, "print JSON", PLACE(json),
	 COMMAND_CHECK | COMMAND_EXPLAIN | COMMAND_STATUS | COMMAND_CACHE},
	{"scan", 0, OPTION_FLAG, NULL,
	 "read the tensor's inputs for what is not known yet", PLACE(scan),
	 COMMAND_EXPLAIN},
	{"token", 0, OPTION_TEXT, "TEXT",
	 "where the rows of this token come from", PLACE(token),
	 COMMAND_EXPLAIN},
	{"prometheus", 0, OPTION_FLAG, NULL, "print Prometheus's text format",
	 PLACE(prometheus), COMMAND_STATUS},
	{"tensors", 0, OPTION_TEXT, "PATTERN",
	 "only those whose names match, as '*.layers.0.*'", PLACE(tensors),
	 COMMAND_WARM},
	{"part", 0, OPTION_TEXT, "K/N",
	 "the Kth of N parts, for as many machines or processes", PLACE(part),
	 COMMAND_WARM},
	{"cache", 0, OPTION_TEXT, "DIR",
	 "where finished blocks are kept; none: memory only",
	 PLACE(merge.cache), MERGE | COMMAND_CACHE},
	{"cache-size", 0, OPTION_SIZE, "SIZE",
	 "budget of the cache on disk (default: half of what is free)",
	 PLACE(merge.cache_size), MERGE | COMMAND_CACHE},
	{"cache-free", 0, OPTION_SIZE, "SIZE",
	 "what the cache leaves free on its file system (default: 5 %, at most "
	 "20G)",
	 PLACE(merge.cache_free), MERGE | COMMAND_CACHE},
	{"memory", 0, OPTION_SIZE, "SIZE",
	 "budget of the program's own memory (default 512M, or a quarter of "
	 "what a container has)",
	 PLACE(merge.memory), MERGE},
	{"threads", 0, OPTION_COUNT, "N",
	 "threads that compute (default: one for each CPU)",
	 PLACE(merge.threads), MERGE},
	{"shard-size", 0, OPTION_SIZE, "SIZE",
	 "largest file of weights (default 5G)", PLACE(merge.shard_size),
	 MERGE},
	{"seed", 0, OPTION_NUMBER, "N",
	 "seed of the random methods (default 0)", PLACE(merge.seed), MERGE},
	{"lora-merge-dtype", 0, OPTION_TEXT, "DTYPE",
	 "round the bases of adapters to this first, and what is made of them",
	 PLACE(merge.lora_merge_dtype), MERGE},
	{"lax", 0, OPTION_FLAG, NULL, "warn of unknown keys instead of failing",
	 PLACE(merge.lax), MERGE},
	{"allow-crimes", 0, OPTION_FLAG, NULL,
	 "allow models of different architectures", PLACE(merge.allow_crimes),
	 MERGE},
	{"offline", 0, OPTION_FLAG, NULL, "never use the network",
	 PLACE(merge.offline), MERGE},
	{"fuse", 0, OPTION_FLAG, NULL,
	 "keep float32 between stages: closer to the exact result, but not "
	 "equal to MergeKit's",
	 PLACE(merge.fuse), MERGE},
	{"no-whole", 0, OPTION_FLAG, NULL,
	 "put no whole shards together in the cache for the kernel to read",
	 PLACE(no_whole), COMMAND_MOUNT},
	{"help", 'h', OPTION_FLAG, NULL, "print this", PLACE(help), ALL},
	{"version", 'V', OPTION_FLAG, NULL, "print the version", PLACE(version),
	 ALL},
};

/* Mount options that say nothing to us: how and when fstab's entry is used, and
 * what a read-only tree of plain files cannot do anyway. */
static const char *const ignored[] = {
	"ro",	    "rw",	  "dev",	 "suid",   "exec",
	"auto",	    "noauto",	  "user",	 "nouser", "users",
	"owner",    "group",	  "nofail",	 "fail",   "_netdev",
	"defaults", "relatime",	  "norelatime",	 "loud",   "silent",
	"lazytime", "nolazytime", "strictatime", NULL};

static bool is_ignored(const char *option)
{
	for (size_t i = 0; ignored[i]; i++) {
		if (strcmp(option, ignored[i]) == 0)
			return true;
	}
	return strncmp(option, "x-", 2) == 0 ||
	       strncmp(option, "comment=", 8) == 0;
}

static const struct option_row *find_row(const struct usage *usage,
					 const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].commands & usage->command &&
		    strlen(rows[i].name) == length &&
		    strncmp(rows[i].name, name, length) == 0)
			return &rows[i];
	}
	return NULL;
}

static const struct option_row *find_letter(const struct usage *usage,
					    char letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].commands & usage->command &&
		    rows[i].letter == letter)
			return &rows[i];
	}
	return NULL;
}

static int parse_number(const char *text, uint64_t *ret)
{
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);
	if (errno || *end)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int parse_size(const char *text, uint64_t *ret)
{
	unsigned long long size;
	int r = text_parse_size(text, &size);

	if (r < 0 || size == 0)
		return -EINVAL;
	*ret = size;
	return 0;
}

/* value is NULL for flags only. */
static int set_option(struct options *options, const struct option_row *row,
		      const char *value, struct error *err)
{
	void *place = (char *)options + row->place;
	uint64_t count = 0;
	int r = 0;

	switch (row->kind) {
	case OPTION_FLAG:
		*(bool *)place = true;
		return 0;
	case OPTION_TEXT:
		if (!*value)
			return error_set(err, -EINVAL, "--%s is empty",
					 row->name);
		*(const char **)place = value;
		return 0;
	case OPTION_SIZE:
		r = parse_size(value, place);
		break;
	case OPTION_NUMBER:
		r = parse_number(value, place);
		break;
	case OPTION_COUNT:
		r = parse_number(value, &count);
		if (count < 1 || count > 4096)
			r = -EINVAL;
		*(unsigned *)place = (unsigned)count;
		break;
	}
	if (r == 0)
		return 0;
	return error_set(err, -EINVAL, "--%s '%s': should be %s", row->name,
			 value,
			 row->kind == OPTION_SIZE ? "a size, like 512M or 2Gi"
			 : row->kind == OPTION_COUNT ? "a number from 1 to 4096"
						     : "a whole number");
}

/* Ends the first of a comma-separated list in place, without its backslashes,
 * and returns the rest or NULL. */
static char *cut_first(char *list)
{
	char *out = list;

	for (; *list && *list != ','; list++) {
		if (*list == '\\' && list[1])
			list++;
		*out++ = *list;
	}
	char *rest = *list ? list + 1 : NULL;
	*out = '\0';
	return rest;
}

static void pass_on(struct text *mount, const char *option)
{
	if (mount->length)
		text_puts(mount, ",");
	for (; *option; option++) {
		if (*option == ',' || *option == '\\')
			text_puts(mount, "\\");
		text_append(mount, option, 1);
	}
}

static int set_mount_option(const struct usage *usage, struct options *options,
			    const char *option, struct error *err)
{
	const char *equals = strchr(option, '=');
	size_t length = equals ? (size_t)(equals - option) : strlen(option);
	const struct option_row *row = find_row(usage, option, length);

	if (row && (row->kind == OPTION_FLAG) == !equals)
		return set_option(options, row, equals ? equals + 1 : NULL,
				  err);
	if (row)
		return error_set(err, -EINVAL, "-o %s: %s", option,
				 equals ? "takes no value" : "needs a value");
	if (!*option || is_ignored(option))
		return 0;
	if (strcmp(option, "nonempty") == 0) {
		options->nonempty = true;
		return 0;
	}
	if (strcmp(option, "allow_other") == 0)
		options->allow_other = true;
	pass_on(&options->mount, option);
	return 0;
}

static int set_mount_options(const struct usage *usage, struct options *options,
			     char *list, struct error *err)
{
	while (list) {
		char *rest = cut_first(list);
		int r = set_mount_option(usage, options, list, err);
		if (r < 0)
			return r;
		list = rest;
	}
	return 0;
}

static int unknown(const struct usage *usage, const char *name,
		   struct error *err)
{
	const char *names[ARRAY_SIZE(rows) + 1];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].commands & usage->command)
			names[n++] = rows[i].name;
	}
	names[n] = NULL;
	const char *near = text_nearest(name, names);
	if (near)
		return error_set(err, -EINVAL,
				 "no option '--%s'; did you mean --%s?", name,
				 near);
	return error_set(err, -EINVAL, "no option '--%s'", name);
}

/* Arguments that are still to be read. */
struct line {
	int n;
	char **next;
};

static char *take(struct line *line)
{
	if (line->n == 0)
		return NULL;
	line->n--;
	return *line->next++;
}

static int parse_long(const struct usage *usage, struct options *options,
		      char *name, struct line *line, struct error *err)
{
	char *value = strchr(name, '=');
	size_t length = value ? (size_t)(value - name) : strlen(name);
	const struct option_row *row = find_row(usage, name, length);

	if (value)
		*value++ = '\0';
	if (!row)
		return unknown(usage, name, err);
	if (row->kind == OPTION_FLAG && value)
		return error_set(err, -EINVAL, "--%s takes no value", name);
	if (row->kind != OPTION_FLAG && !value)
		value = take(line);
	if (row->kind != OPTION_FLAG && !value)
		return error_set(err, -EINVAL, "--%s needs a value: --%s %s",
				 name, name, row->value);
	return set_option(options, row, value, err);
}

static int parse_short(const struct usage *usage, struct options *options,
		       char *letters, struct line *line, struct error *err)
{
	for (; *letters; letters++) {
		if (*letters == 'o' && usage->command == COMMAND_MOUNT) {
			char *list = letters[1] ? letters + 1 : take(line);
			if (!list)
				return error_set(err, -EINVAL,
						 "-o needs a value");
			return set_mount_options(usage, options, list, err);
		}
		const struct option_row *row = find_letter(usage, *letters);
		if (!row)
			return error_set(err, -EINVAL, "no option '-%c'",
					 *letters);
		int r = set_option(options, row, NULL, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_argument(const struct usage *usage, struct options *options,
			  const char *argument, struct error *err)
{
	for (unsigned i = 0; i < usage->n_arguments; i++) {
		if (!options->arguments[i]) {
			options->arguments[i] = argument;
			return 0;
		}
	}
	return error_set(err, -EINVAL, "'%s' is one argument too many",
			 argument);
}

int options_parse(const struct usage *usage, int argc, char **argv,
		  struct options *ret, struct error *err)
{
	struct line line = {argc - 1, argv + 1};
	bool only_arguments = false;
	char *word;

	*ret = (struct options){0};
	while ((word = take(&line))) {
		int r;
		if (only_arguments || word[0] != '-' || !word[1]) {
			r = parse_argument(usage, ret, word, err);
		} else if (strcmp(word, "--") == 0) {
			only_arguments = true;
			r = 0;
		} else if (word[1] == '-') {
			r = parse_long(usage, ret, word + 2, &line, err);
		} else {
			r = parse_short(usage, ret, word + 1, &line, err);
		}
		if (r < 0)
			return r;
		if (ret->help || ret->version)
			return 0;
	}
	if (ret->mount.failed)
		return error_set(err, -ENOMEM, "out of memory");
	unsigned n_needed = usage->n_arguments - usage->n_optional;
	if (n_needed && !ret->arguments[n_needed - 1])
		return error_set(err, -EINVAL, "arguments are missing: %s %s",
				 usage->name, usage->arguments);
	return 0;
}

void options_done(struct options *options)
{
	text_done(&options->mount);
}

static void print_row(const struct option_row *row, FILE *out)
{
	char letter[5] = "    ", left[32];

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	snprintf(left, sizeof(left), "--%s%s%s", row->name,
		 row->value ? " " : "", row->value ? row->value : "");
	fprintf(out, "  %s%-20s %s\n", letter, left, row->summary);
}

void options_help(const struct usage *usage, FILE *out)
{
	fprintf(out, "Usage: %s [options] %s\n%s\n\nOptions:\n", usage->name,
		usage->arguments, usage->summary);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].commands & usage->command)
			print_row(&rows[i], out);
	}
	if (usage->command == COMMAND_MOUNT)
		fputs("  -o OPT[,OPT]             FUSE options (allow_other, "
		      "...), nonempty, and the options above\n"
		      "                           as name=value\n",
		      out);
	if (!(usage->command & MERGE))
		return;

	fputs("\nSIZE takes K M G T (powers of 1000) and Ki Mi Gi Ti.\n"
	      "\nMerge methods:\n",
	      out);
	const struct method *const *methods = method_all();
	for (size_t i = 0; methods[i]; i++)
		fprintf(out, "  %-24s %s\n", methods[i]->name,
			methods[i]->summary);
}
