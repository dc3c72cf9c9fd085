#include "fs/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/program.h"

static void wait_and_exit(int ready, pid_t child)
{
	char byte;
	int status;
	ssize_t n;

	do {
		n = read(ready, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(STATUS_DONE);
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			_exit(STATUS_FAILED);
	}
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILED);
}

int daemon_start(int *ret_ready)
{
	int fds[2];

	fflush(NULL);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int r = -errno;
		close(fds[0]);
		close(fds[1]);
		return r;
	}
	if (pid > 0) {
		close(fds[1]);
		wait_and_exit(fds[0], pid);
	}
	close(fds[0]);
	*ret_ready = fds[1];
	return 0;
}

void daemon_ready(int ready)
{
	setsid();
	/* No working directory is kept from being unmounted by us. */
	if (chdir("/") < 0)
		perror("/");
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
	/* A parent that is gone does not wait. */
	if (write(ready, "", 1) < 0)
		errno = 0;
	close(ready);
}

static void exit_now(int number)
{
	(void)number;
	_exit(STATUS_DONE);
}

void daemon_exit_within(unsigned seconds)
{
	struct sigaction action = {.sa_handler = exit_now};

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}
