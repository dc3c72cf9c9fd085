/*
 * Views: bytes of a file, zeros and a word where there are none, and the signal
 * of anybody else as it was.
 */
#include "merge/source/view.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/check.h"

#define SIZE ((size_t)5 << 20)

static int make_file(void)
{
	char path[] = "/tmp/test-view-XXXXXX";
	int fd = mkstemp(path);
	unsigned char *data = malloc(SIZE);

	CHECK(fd >= 0 && data && unlink(path) == 0);
	for (size_t i = 0; i < SIZE; i++)
		data[i] = (unsigned char)(1 + i % 251);
	CHECK(write(fd, data, SIZE) == (ssize_t)SIZE);
	free(data);
	return fd;
}

static bool is_right(const struct view *view, size_t at)
{
	return ((const volatile unsigned char *)view_data(view))[at] ==
	       1 + at % 251;
}

static void test_bytes(void)
{
	int fd = make_file();
	struct view *view = view_new(fd, SIZE);

	CHECK(view);
	for (int i = 0; i < 2; i++) {
		for (size_t at = 0; at < SIZE; at += 4095)
			CHECK(is_right(view, at));
		CHECK(is_right(view, SIZE - 1));
		view_drop(view, 100, 10);
		view_drop(view, SIZE - 1, 1);
	}
	CHECK(!view_torn(view));
	view_free(view);
	close(fd);
}

/* One is torn, another not, and what was closed serves again whole. */
static void test_torn(void)
{
	int fd = make_file(), other_fd = make_file();
	struct view *view = view_new(fd, SIZE);
	struct view *other = view_new(other_fd, SIZE);

	CHECK(view && other && is_right(view, SIZE - 1));
	CHECK(ftruncate(fd, 4096) == 0);
	for (size_t at = 4096; at < SIZE; at += 5000)
		CHECK(((const volatile unsigned char *)view_data(view))[at] ==
		      0);
	CHECK(view_torn(view) && is_right(view, 4095));
	CHECK(!view_torn(other) && is_right(other, SIZE - 1));
	view_free(view);

	view = view_new(other_fd, SIZE);
	CHECK(!view_torn(view) && is_right(view, SIZE - 1));
	view_free(view);
	view_free(other);
	close(fd);
	close(other_fd);
}

static void test_not_to_be_had(void)
{
	int fds[2];

	CHECK(pipe(fds) == 0);
	CHECK(!view_new(fds[0], SIZE));
	close(fds[0]);
	close(fds[1]);
}

/* Someone else's torn file ends the program, as it would without views. */
static void test_foreign_signal(void)
{
	int fd = make_file();
	struct view *view = view_new(fd, SIZE);
	volatile char *data = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	int status = 0;

	CHECK(view && data != MAP_FAILED && ftruncate(fd, 0) == 0);
	pid_t child = fork();
	if (child == 0) {
		struct rlimit none = {};
		setrlimit(RLIMIT_CORE, &none);
		(void)data[SIZE - 1];
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
	munmap((void *)data, SIZE);
	view_free(view);
	close(fd);
}

int main(void)
{
	test_bytes();
	test_torn();
	test_not_to_be_had();
	test_foreign_signal();
	return 0;
}
