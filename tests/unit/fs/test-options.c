#include "fs/options.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"

#define MAX_WORDS 16

static const struct usage usage = {
	.command = COMMAND_MOUNT,
	.name = "mkfs-mount",
	.arguments = "RECIPE MOUNTPOINT",
	.n_arguments = 2,
};

static const struct usage check_usage = {
	.command = COMMAND_CHECK,
	.name = "mkfs-ctl check",
	.arguments = "RECIPE",
	.n_arguments = 1,
};

/* A command line in one string, which is cut up and must stay. */
static int parse(const struct usage *of, char *line, struct options *ret,
		 struct error *err)
{
	char *argv[MAX_WORDS] = {"program"}, *save = NULL;
	int argc = 1;

	char *word = strtok_r(line, " ", &save);
	for (; word; word = strtok_r(NULL, " ", &save)) {
		CHECK(argc < MAX_WORDS);
		argv[argc++] = word;
	}
	return options_parse(of, argc, argv, ret, err);
}

static void check_long(void)
{
	char line[] = "--cache /c r.yaml --memory=64M --threads 3 --lax "
		      "--seed=18446744073709551615 --shard-size 2Gi -f m "
		      "--allow-crimes --offline --cache-size=1.5k";
	struct options options;

	CHECK(parse(&usage, line, &options, NULL) == 0);
	CHECK(strcmp(options.merge.cache, "/c") == 0);
	CHECK(options.merge.memory == 64000000);
	CHECK(options.merge.threads == 3);
	CHECK(options.merge.seed == UINT64_MAX);
	CHECK(options.merge.shard_size == (uint64_t)2 << 30);
	CHECK(options.merge.cache_size == 1500);
	CHECK(options.merge.lax && options.merge.allow_crimes);
	CHECK(options.merge.offline && options.foreground);
	CHECK(strcmp(options.arguments[0], "r.yaml") == 0);
	CHECK(strcmp(options.arguments[1], "m") == 0);
	CHECK(!options.mount.data);
	options_done(&options);
}

static void check_mount_options(void)
{
	char line[] = "r m -oallow_other,cache=/a\\,b\\\\c,threads=2,rw,dev "
		      "-o lax,x-systemd.automount,nonempty,_netdev,user,noexec "
		      "-o fsname=a\\,b,comment=nothing,defaults,,foreground";
	struct options options;

	CHECK(parse(&usage, line, &options, NULL) == 0);
	CHECK(strcmp(options.merge.cache, "/a,b\\c") == 0);
	CHECK(options.merge.threads == 2 && options.merge.lax);
	CHECK(options.nonempty && options.allow_other && options.foreground);
	CHECK(strcmp(options.mount.data, "allow_other,noexec,fsname=a\\,b") ==
	      0);
	options_done(&options);
}

static void check_ends(void)
{
	struct options options;
	char dashes[] = "-f -- --lax -x", help[] = "--help --nonsense",
	     letters[] = "-fV", dash[] = "- m";

	CHECK(parse(&usage, dashes, &options, NULL) == 0);
	CHECK(options.foreground && !options.merge.lax);
	CHECK(strcmp(options.arguments[0], "--lax") == 0);
	CHECK(strcmp(options.arguments[1], "-x") == 0);
	options_done(&options);
	CHECK(parse(&usage, help, &options, NULL) == 0 && options.help);
	options_done(&options);
	CHECK(parse(&usage, letters, &options, NULL) == 0);
	CHECK(options.foreground && options.version);
	options_done(&options);
	CHECK(parse(&usage, dash, &options, NULL) == 0);
	CHECK(strcmp(options.arguments[0], "-") == 0);
	options_done(&options);
}

static void refuse(const struct usage *of, const char *words,
		   const char *sentence)
{
	struct options options;
	struct error err;
	char line[128];

	snprintf(line, sizeof(line), "%s", words);
	CHECK(parse(of, line, &options, &err) == -EINVAL);
	if (!strstr(err.text, sentence))
		fprintf(stderr, "%s: %s\n", words, err.text);
	CHECK(strstr(err.text, sentence));
	options_done(&options);
}

int main(void)
{
	check_long();
	check_mount_options();
	check_ends();
	refuse(&usage, "", "missing: mkfs-mount RECIPE MOUNTPOINT");
	refuse(&usage, "r", "missing");
	refuse(&usage, "r m x", "'x' is one argument too many");
	refuse(&usage, "r m --thread 3", "did you mean --threads?");
	refuse(&usage, "r m --threads", "needs a value");
	refuse(&usage, "r m --threads 0", "from 1 to 4096");
	refuse(&usage, "r m --threads -1", "from 1 to 4096");
	refuse(&usage, "r m --threads 4294967297", "from 1 to 4096");
	refuse(&usage, "r m --seed 1x", "a whole number");
	refuse(&usage, "r m --seed 18446744073709551616", "a whole number");
	refuse(&usage, "r m --memory 0", "a size");
	refuse(&usage, "r m --cache=", "--cache is empty");
	refuse(&usage, "r m --lax=yes", "takes no value");
	refuse(&usage, "r m -o lax=yes", "takes no value");
	refuse(&usage, "r m -o memory", "needs a value");
	refuse(&usage, "r m -o", "needs a value");
	refuse(&usage, "r m -q", "no option '-q'");
	refuse(&usage, "r m --json", "no option '--json'");
	refuse(&check_usage, "r -o lax", "no option '-o'");
	refuse(&check_usage, "r --foreground", "no option '--foreground'");
	return 0;
}
