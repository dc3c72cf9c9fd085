#include "cache/upkeep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/statvfs.h>

#include "cache/codec.h"
#include "cache/frame.h"
#include "cache/walk.h"
#include "cache/whole.h"
#include "util/io.h"

static const time_t age_limits[] = {3600, 86400, 7 * 86400, 30 * 86400};

struct keeper {
	int dir;
	struct upkeep *found;
	time_t now;
	struct codec *codec;
	unsigned char *data; /* (BLOCK_SIZE,) */
};

static unsigned age_of(const struct keeper *keeper,
		       const struct walk_file *file)
{
	unsigned age = 0;

	while (age < ARRAY_SIZE(age_limits) &&
	       keeper->now - file->used.tv_sec >= age_limits[age])
		age++;
	return age;
}

static bool read_file(const struct walk_file *file, void *data, size_t size)
{
	AUTO_CLOSE int fd = openat(file->folder, file->name,
				   O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && io_read(fd, data, size, 0) == 0;
}

static void count_block(const struct keeper *keeper,
			const struct walk_file *file)
{
	unsigned age = age_of(keeper, file);
	struct upkeep *found = keeper->found;

	found->n_blocks++;
	found->size += walk_space(file);
	found->ages[age].n++;
	found->ages[age].size += walk_space(file);
}

static int survey_file(void *arg, const struct walk_file *file)
{
	struct keeper *keeper = arg;
	struct frame_header header;

	if (file->kind == WALK_TEMPORARY)
		keeper->found->n_temporary++;
	if (file->kind == WALK_FOREIGN)
		keeper->found->n_foreign++;
	if (file->kind == WALK_WHOLE) {
		keeper->found->n_whole++;
		keeper->found->size_whole += walk_space(file);
	}
	if (file->kind != WALK_BLOCK)
		return 0;
	count_block(keeper, file);
	if (read_file(file, &header, sizeof(header)) &&
	    frame_check(&header, file->key, (uint64_t)file->st.st_size) == 0)
		keeper->found->size_raw += header.size;
	return 0;
}

/* False if it is gone already. */
static bool remove_file(struct upkeep *found, const struct walk_file *file)
{
	int r = walk_remove(file);

	if (r < 0)
		return r != -ENOENT;
	found->n_removed++;
	found->size_removed += walk_space(file);
	return true;
}

/* Its bytes are then in keeper->data, of this size; else 0. */
static size_t load_block(struct keeper *keeper, const struct walk_file *file)
{
	struct frame_header header;
	unsigned char *data = codec_input(keeper->codec);
	uint64_t size = (uint64_t)file->st.st_size;

	if (size < sizeof(header) || size > sizeof(header) + BLOCK_SIZE ||
	    !read_file(file, data, size))
		return 0;
	memcpy(&header, data, sizeof(header));
	if (frame_check(&header, file->key, size) < 0 ||
	    frame_open(keeper->codec, &header, data + sizeof(header),
		       keeper->data, header.size) < 0)
		return 0;
	return header.size;
}

/* A whole file without its mark is of no use, but not bad. */
static void verify_whole(struct keeper *keeper, const struct walk_file *file)
{
	int r = whole_verify(keeper->dir, file->key);

	if (r == 0) {
		keeper->found->n_whole++;
		keeper->found->size_whole += walk_space(file);
	} else if (r != -ENOENT) {
		keeper->found->n_bad +=
			remove_file(keeper->found, file) && r != -ENODATA;
	}
}

static int verify_file(void *arg, const struct walk_file *file)
{
	struct keeper *keeper = arg;

	if (file->kind == WALK_WHOLE)
		verify_whole(keeper, file);
	if (file->kind != WALK_BLOCK)
		return 0;
	count_block(keeper, file);
	size_t size = load_block(keeper, file);
	keeper->found->size_raw += size;
	if (size > 0)
		return 0;
	/* One that others removed meanwhile could not be read, either. */
	keeper->found->n_bad += remove_file(keeper->found, file);
	return 0;
}

static int clear_file(void *arg, const struct walk_file *file)
{
	struct keeper *keeper = arg;

	if (file->kind == WALK_BLOCK || file->kind == WALK_WHOLE ||
	    walk_abandoned(file))
		remove_file(keeper->found, file);
	return 0;
}

static int walk(int dir, walk_fn *visit, struct keeper *keeper,
		struct upkeep *ret)
{
	struct statvfs fs;

	*ret = (struct upkeep){0};
	keeper->dir = dir;
	keeper->found = ret;
	keeper->now = time(NULL);
	int r = walk_files(dir, visit, keeper);
	if (r == 0 && fstatvfs(dir, &fs) < 0)
		r = -errno;
	if (r == 0)
		ret->free = (uint64_t)fs.f_bavail * fs.f_frsize;
	return r;
}

int upkeep_survey(int dir, struct upkeep *ret)
{
	struct keeper keeper = {0};

	return walk(dir, survey_file, &keeper, ret);
}

int upkeep_verify(int dir, struct upkeep *ret)
{
	AUTO(codec) codec = NULL;
	AUTO_FREE unsigned char *data = malloc(BLOCK_SIZE);
	struct keeper keeper = {.data = data};

	int r = data ? codec_new(&codec) : -ENOMEM;
	if (r < 0)
		return r;
	keeper.codec = codec;
	return walk(dir, verify_file, &keeper, ret);
}

int upkeep_clear(int dir, struct upkeep *ret)
{
	struct keeper keeper = {0};

	return walk(dir, clear_file, &keeper, ret);
}
