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

static int find_last(FILE *table, const char *path, struct mount_entry *ret)
{
	AUTO_FREE char *line = NULL;
	AUTO_FREE char *type = NULL;
	size_t room = 0;

	while (getline(&line, &room, table) >= 0) {
		struct mount_entry entry;
		if (parse_line(line, &entry) < 0 ||
		    strcmp(entry.path, path) != 0)
			continue;
		free(type);
		type = strdup(entry.type);
		if (!type)
			return -ENOMEM;
	}
	if (!type)
		return -ENOENT;
	ret->path = strdup(path);
	if (!ret->path)
		return -ENOMEM;
	ret->type = TAKE(type);
	return 0;
}

int mountinfo_find(FILE *table, const char *path, struct mount_entry *ret)
{
	if (table)
		return find_last(table, path, ret);

	table = fopen("/proc/self/mountinfo", "re");
	if (!table)
		return -errno;
	int r = find_last(table, path, ret);
	fclose(table);
	return r;
}

void mount_entry_done(struct mount_entry *entry)
{
	free(entry->path);
	free(entry->type);
	*entry = (struct mount_entry){0};
}
