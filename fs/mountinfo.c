#include "fs/mountinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macros.h"

/* Space, tab, newline and backslash are written as \ooo. */
static void unescape(char *text)
{
	char *out = text;

	while (*text) {
		unsigned code = 0;
		int length = 0;
		if (sscanf(text, "\\%3o%n", &code, &length) == 1 &&
		    length == 4) {
			*out++ = (char)code;
			text += length;
		} else {
			*out++ = *text++;
		}
	}
	*out = '\0';
}

/* Fields: id parent dev root path options [tags ...] - type source options */
static int parse_line(char *line, struct mount_entry *ret)
{
	char *save = NULL, *field = strtok_r(line, " \n", &save);
	char *path = NULL, *type = NULL;

	for (unsigned i = 0; field; i++) {
		if (i == 4)
			path = field;
		if (i > 5 && strcmp(field, "-") == 0) {
			type = strtok_r(NULL, " \n", &save);
			break;
		}
		field = strtok_r(NULL, " \n", &save);
	}
	if (!path || !type)
		return -EINVAL;
	unescape(path);
	ret->path = path;
	ret->type = type;
	return 0;
}

static int each_line(FILE *table,
		     void (*see)(void *arg, const struct mount_entry *entry),
		     void *arg)
{
	AUTO_FREE char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, table) >= 0) {
		struct mount_entry entry;
		if (parse_line(line, &entry) == 0)
			see(arg, &entry);
	}
	return 0;
}

int mountinfo_each(FILE *table,
		   void (*see)(void *arg, const struct mount_entry *entry),
		   void *arg)
{
	if (table)
		return each_line(table, see, arg);

	table = fopen("/proc/self/mountinfo", "re");
	if (!table)
		return -errno;
	int r = each_line(table, see, arg);
	fclose(table);
	return r;
}

/* The last of several mounts on one path is the topmost. */
struct search {
	const char *path;
	char *type; /* owned */
	int r;
};

static void note_match(void *arg, const struct mount_entry *entry)
{
	struct search *search = arg;

	if (strcmp(entry->path, search->path) != 0)
		return;
	free(search->type);
	search->type = strdup(entry->type);
	search->r = search->type ? 0 : -ENOMEM;
}

int mountinfo_find(FILE *table, const char *path, struct mount_entry *ret)
{
	struct search search = {.path = path, .r = -ENOENT};

	int r = mountinfo_each(table, note_match, &search);
	AUTO_FREE char *type = search.type;
	if (r < 0 || search.r < 0)
		return r < 0 ? r : search.r;
	ret->path = strdup(path);
	if (!ret->path)
		return -ENOMEM;
	ret->type = TAKE(type);
	return 0;
}

void mount_entry_done(struct mount_entry *entry)
{
	free(entry->path);
	free(entry->type);
	*entry = (struct mount_entry){0};
}
