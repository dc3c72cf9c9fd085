/*
 * What is stored while a cache is looked through counts. The linker puts the
 * function below before that of the C library (--wrap, see meson.build).
 */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/counters.h"
#include "cache/room.h"
#include "tests/unit/check.h"
#include "util/macros.h"

#define SIZE ((uint64_t)5 << 20)

static struct room *room;
static bool looking;

int __real_fstatat64(int fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *name, struct stat *st, int flags);
int __wrap_fstatat64(int fd, const char *name, struct stat *st, int flags)
{
	if (looking)
		room_took(room, SIZE);
	looking = false;
	return __real_fstatat64(fd, name, st, flags);
}

int main(void)
{
	char folder[] = "/tmp/test-room-XXXXXX";
	struct cache_counters counters = {0};
	AUTO_FREE char *block = NULL;
	AUTO_FREE char *command = NULL;

	CHECK(mkdtemp(folder));
	CHECK(asprintf(&command, "mkdir %s/ab", folder) > 0);
	CHECK(system(command) == 0);
	CHECK(asprintf(&block, "%s/ab/%030d", folder, 0) > 0);
	CHECK(close(creat(block, 0600)) == 0);
	AUTO_CLOSE int dir = open(folder, O_RDONLY | O_DIRECTORY);
	struct room_options options = {.dir = dir, .size = 10 * SIZE};
	CHECK(room_new(&options, &room) == 0);

	looking = true;
	room_tidy(room);
	CHECK(!looking);
	room_counters(room, &counters);
	CHECK(counters.used == SIZE);
	CHECK(room_fits(room, 8 * SIZE) && !room_fits(room, 10 * SIZE));

	/* The next look finds that nothing is there. */
	room_tidy(room);
	room_counters(room, &counters);
	CHECK(counters.used == 0);
	room_free(room);
	free(command);
	CHECK(asprintf(&command, "rm -r %s", folder) > 0);
	CHECK(system(command) == 0);
	return 0;
}
