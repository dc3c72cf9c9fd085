/*
 * Views: bytes of a file, zeros and a word where there are none, and the signal
 * of anybody else as it was.
 */
#include "merge/source/view.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/check.h"

#define SIZE ((size_t)5 << 20)
#define PIECE ((size_t)2 << 20)

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
		view_let_go(view, 100, 10);
		view_let_go(view, SIZE - 1, 1);
	}
	CHECK(!view_torn(view));
	view_free(view);
	close(fd);
}

/* With a bound on address space, files are read. */
static void test_scarce(void)
{
	struct rlimit before, limit;
	int fd = make_file();

	CHECK(getrlimit(RLIMIT_AS, &before) == 0);
	limit = before;
	limit.rlim_cur = (rlim_t)1 << 40;
	if (before.rlim_max < limit.rlim_cur ||
	    setrlimit(RLIMIT_AS, &limit) < 0)
		return;
	CHECK(!view_new(fd, SIZE));
	CHECK(setrlimit(RLIMIT_AS, &before) == 0);
	close(fd);
}

/* Of 2 MiB of the file, by the kernel's word on its first page. */
static bool is_mapped(const struct view *view, size_t piece)
{
	uintptr_t address = (uintptr_t)view_data(view) + piece * PIECE;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t word = 0;

	CHECK(fd >= 0);
	CHECK(pread(fd, &word, sizeof(word),
		    (off_t)(address / 4096 * sizeof(word))) == sizeof(word));
	close(fd);
	return word >> 63;
}

static void use(const struct view *view, size_t piece)
{
	CHECK(is_right(view, piece * PIECE));
	view_let_go(view, piece * PIECE, 4096);
}

/* What was let go of last stays mapped, of all views together. */
static void test_kept(void)
{
	int fd = make_file();
	struct view *view = view_new(fd, SIZE), *other = view_new(fd, SIZE);

	CHECK(view && other);
	use(view, 0);
	CHECK(!is_mapped(view, 0));

	view_keep(2 * PIECE);
	use(view, 0);
	use(view, 1);
	use(view, 0);
	CHECK(is_mapped(view, 0) && is_mapped(view, 1));
	use(other, 2);
	CHECK(is_mapped(view, 0) && !is_mapped(view, 1));
	CHECK(is_mapped(other, 2));
	view_free(view);
	use(other, 1);
	CHECK(is_mapped(other, 1) && is_mapped(other, 2));

	view_keep(0);
	use(other, 0);
	for (size_t i = 0; i < 3; i++)
		CHECK(!is_mapped(other, i));
	view_free(other);
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
	test_scarce();
	test_bytes();
	test_kept();
	test_torn();
	test_not_to_be_had();
	test_foreign_signal();
	return 0;
}
