#include "cache/walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "util/macros.h"

#define N_FOLDERS 256
#define HEX_SIZE 30 /* of a block's name */
#define HEX_DIGITS "0123456789abcdef"
#define RANDOM_SIZE 16 /* of a temporary file's name, in digits */
#define DISK_UNIT 512  /* of st_blocks */

uint64_t walk_space(const struct walk_file *file)
{
	return (uint64_t)file->st.st_blocks * DISK_UNIT;
}

/* Writers hold a lock, which goes with them however they end. */
bool walk_abandoned(const struct walk_file *file)
{
	AUTO_CLOSE int fd = openat(file->folder, file->name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

void walk_path(struct digest key, char path[WALK_PATH_SIZE])
{
	char hex[33];

	digest_format(key, hex);
	snprintf(path, WALK_PATH_SIZE, "%.2s/%s", hex, hex + 2);
}

/* ".RANDOM.NUMBER" or ".RANDOM.file": others' hidden files are not ours. */
static bool is_temporary(const char *name)
{
	if (name[0] != '.' || strspn(name + 1, HEX_DIGITS) != RANDOM_SIZE ||
	    name[1 + RANDOM_SIZE] != '.')
		return false;
	const char *end = name + 1 + RANDOM_SIZE + 1;
	return strcmp(end, "file") == 0 ||
	       (*end && end[strspn(end, "0123456789")] == '\0');
}

/* And the key of the block that a file of that name would be. */
static enum walk_kind judge(unsigned folder, const char *name,
			    struct digest *ret)
{
	unsigned long long high, low;

	if (is_temporary(name))
		return WALK_TEMPORARY;
	if (strspn(name, HEX_DIGITS) != HEX_SIZE ||
	    sscanf(name, "%14llx%16llx", &high, &low) != 2)
		return WALK_FOREIGN;
	*ret = (struct digest){(uint64_t)folder << 56 | high, low};
	if (strcmp(name + HEX_SIZE, ".file") == 0)
		return WALK_WHOLE;
	return name[HEX_SIZE] == '\0' ? WALK_BLOCK : WALK_FOREIGN;
}

static int walk_folder(int dir, unsigned number, walk_fn *visit, void *arg)
{
	char name[16];
	int r = 0;

	snprintf(name, sizeof(name), "%02x", number);
	int fd = openat(dir, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	if (!stream) {
		if (fd >= 0)
			close(fd);
		return 0;
	}

	for (const struct dirent *entry; r == 0 && (entry = readdir(stream));) {
		struct walk_file file = {.folder = fd, .name = entry->d_name};
		if (fstatat(fd, file.name, &file.st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    !S_ISREG(file.st.st_mode))
			continue;
		file.kind = judge(number, file.name, &file.key);
		r = visit(arg, &file);
	}
	closedir(stream);
	return r;
}

int walk_files(int dir, walk_fn *visit, void *arg)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < N_FOLDERS; i++)
		r = walk_folder(dir, i, visit, arg);
	return r;
}
