#include "cache/walk.h"

#include <dirent.h>
#include <errno.h>
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

/* The name of a whole file's mark, or the other way round. */
static void other_name(const char *name, const char *suffix,
		       char ret[HEX_SIZE + 8])
{
	snprintf(ret, HEX_SIZE + 8, "%.*s%s", HEX_SIZE, name, suffix);
}

/* Writers hold a lock, which goes with them however they end. */
bool walk_abandoned(const struct walk_file *file)
{
	char whole[HEX_SIZE + 8];

	if (file->kind == WALK_MARK) {
		other_name(file->name, WALK_WHOLE_SUFFIX, whole);
		return faccessat(file->folder, whole, F_OK, 0) < 0 &&
		       errno == ENOENT;
	}
	if (file->kind != WALK_TEMPORARY)
		return false;
	AUTO_CLOSE int fd = openat(file->folder, file->name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

int walk_remove(const struct walk_file *file)
{
	char mark[HEX_SIZE + 8];

	if (unlinkat(file->folder, file->name, 0) < 0)
		return -errno;
	if (file->kind == WALK_WHOLE) {
		other_name(file->name, WALK_MARK_SUFFIX, mark);
		unlinkat(file->folder, mark, 0);
	}
	return 0;
}

void walk_path(struct digest key, char path[WALK_PATH_SIZE])
{
	char hex[33];

	digest_format(key, hex);
	snprintf(path, WALK_PATH_SIZE, "%.2s/%s", hex, hex + 2);
}

/* ".RANDOM.NUMBER" or ".KEY.file": others' hidden files are not ours. */
static bool is_temporary(const char *name)
{
	size_t n = name[0] == '.' ? strspn(name + 1, HEX_DIGITS) : 0;
	const char *end = name + 1 + n;

	if (n == HEX_SIZE)
		return strcmp(end, WALK_WHOLE_SUFFIX) == 0;
	return n == RANDOM_SIZE && end[0] == '.' && end[1] &&
	       end[1 + strspn(end + 1, "0123456789")] == '\0';
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
	if (strcmp(name + HEX_SIZE, WALK_WHOLE_SUFFIX) == 0)
		return WALK_WHOLE;
	if (strcmp(name + HEX_SIZE, WALK_MARK_SUFFIX) == 0)
		return WALK_MARK;
	return name[HEX_SIZE] == '\0' ? WALK_BLOCK : WALK_FOREIGN;
}

static void find_use(struct walk_file *file)
{
	char mark[HEX_SIZE + 8];
	struct stat st;

	file->used = file->st.st_mtim;
	if (file->kind != WALK_WHOLE)
		return;
	other_name(file->name, WALK_MARK_SUFFIX, mark);
	if (fstatat(file->folder, mark, &st, AT_SYMLINK_NOFOLLOW) == 0)
		file->used = st.st_mtim;
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
		find_use(&file);
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
