#include "fs/program.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

#include "fs/options.h"

void program_begin(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			_exit(STATUS_FAILED);
	}
	/* Blocks go from thread to thread; with a heap for each, what one gives
	 * back the others cannot use, and memory grows past its bounds. */
	mallopt(M_ARENA_MAX, 1);
}

int program_failed(const char *program, const struct error *err)
{
	fprintf(stderr, "%s: %s\n", program, err->text);
	return STATUS_FAILED;
}

int program_misused(const struct usage *usage, const struct error *err)
{
	fprintf(stderr, "%s: %s\nTry '%s --help'\n", usage->name, err->text,
		usage->name);
	return STATUS_USAGE;
}

int program_version(const char *program)
{
	printf("%s %s\n", program, VERSION);
	return fflush(stdout) == 0 ? STATUS_DONE : STATUS_FAILED;
}

void program_warn(const char *program, const struct notes *notes, size_t first)
{
	for (size_t i = first; i < notes->n_lines; i++)
		fprintf(stderr, "%s: warning: %s\n", program, notes->lines[i]);
}

void program_refused(const char *program, const struct notes *refused)
{
	for (size_t i = 0; i < refused->n_lines; i++)
		fprintf(stderr, "%s: left out: %s\n", program,
			refused->lines[i]);
}
