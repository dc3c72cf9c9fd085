/*
 * Whether memory is short, by figures that are written here.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fs/pressure.h"
#include "tests/unit/check.h"
#include "util/io.h"

static char path[] = "/tmp/test-pressure-XXXXXX";

static void say(int fd, const char *text)
{
	CHECK(ftruncate(fd, 0) == 0);
	CHECK(io_write(fd, text, strlen(text), 0) == 0);
}

static bool is_short(int fd, const char *text)
{
	struct pressure pressure = {.path = path};

	say(fd, text);
	return pressure_is_short(&pressure);
}

#define LINES "MemTotal: 16000 kB\nMemFree: 10 kB\nMemAvailable: "

int main(void)
{
	int fd = mkstemp(path);
	struct pressure pressure = {.path = path}, none = {0};

	CHECK(fd >= 0);
	CHECK(is_short(fd, LINES "999 kB\nBuffers: 5 kB\n"));
	CHECK(!is_short(fd, LINES "1000 kB\nBuffers: 5 kB\n"));
	CHECK(!is_short(fd, LINES "16000 kB\n"));
	CHECK(is_short(fd, LINES "0 kB\n"));

	/* No figure is no reason. */
	CHECK(!is_short(fd, ""));
	CHECK(!is_short(fd, "MemTotal: 16000 kB\nMemFree: 10 kB\n"));
	CHECK(!is_short(fd, LINES "little\n"));
	CHECK(!pressure_is_short(&none));

	/* One look a second. */
	say(fd, LINES "0 kB\n");
	CHECK(pressure_is_short(&pressure));
	say(fd, LINES "16000 kB\n");
	CHECK(pressure_is_short(&pressure));
	usleep(1100000);
	CHECK(!pressure_is_short(&pressure));
	CHECK(unlink(path) == 0);
	CHECK(!pressure_is_short(&pressure));
	return 0;
}
