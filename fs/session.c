#include "fs/session.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fs/backing.h"
#include "fs/mountpoint.h"
#include "fs/ops.h"
#include "fs/reads.h"
#include "fs/server.h"
#include "fs/signals.h"
#include "util/text.h"

#define N_RECEIVERS 2

struct session {
	struct server *server;
	struct fuse_session *fuse; /* owned */
	bool mounted;
	int news; /* eventfd: the kernel said hello, or a receiver ended */
	int stop; /* eventfd: receivers are to end */
	atomic_bool stopping, ended;
};

static char *mount_options(const struct session_options *options)
{
	struct text text = {0};

	text_printf(&text, "ro,nosuid,nodev,noatime,default_permissions,"
			   "subtype=mkfs-mount,fsname=");
	const char *name = options->device ? options->device : "mkfs-mount";
	for (; *name; name++) {
		if (*name == ',' || *name == '\\')
			text_puts(&text, "\\");
		text_append(&text, name, 1);
	}
	if (options->mount && *options->mount)
		text_printf(&text, ",%s", options->mount);
	text_printf(&text, ",max_read=%u", REQUEST_SIZE);
	return text_take(&text);
}

/* What libfuse and fusermount3 print on stderr, to be made one sentence. */
struct captured {
	int file, stderr_copy;
};

static int capture(struct captured *captured)
{
	captured->file = memfd_create("stderr", MFD_CLOEXEC);
	captured->stderr_copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (captured->file < 0 || captured->stderr_copy < 0)
		return -errno;
	fflush(stderr);
	return dup2(captured->file, STDERR_FILENO) < 0 ? -errno : 0;
}

/* Puts stderr back; text is the first line, without its program's name. */
static void release(struct captured *captured, char *text, size_t room)
{
	fflush(stderr);
	if (captured->stderr_copy >= 0) {
		dup2(captured->stderr_copy, STDERR_FILENO);
		close(captured->stderr_copy);
	}
	ssize_t n = -1;
	if (captured->file >= 0) {
		n = pread(captured->file, text, room - 1, 0);
		close(captured->file);
	}
	text[n < 0 ? 0 : n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	char *colon = strstr(text, ": ");
	if (colon)
		memmove(text, colon + 2, strlen(colon + 2) + 1);
}

static int try_mount(struct session *session, const char *mountpoint,
		     char *options)
{
	char *argv[] = {"mkfs-mount", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);

	session->fuse = fuse_session_new(&args, &server_ops, sizeof(server_ops),
					 session->server);
	fuse_opt_free_args(&args);
	if (!session->fuse)
		return -EINVAL;
	if (fuse_session_mount(session->fuse, mountpoint) != 0)
		return -EPERM;
	session->mounted = true;
	return 0;
}

static int mount_error(const char *mountpoint, int r, const char *said,
		       struct error *err)
{
	char option[64];

	if (sscanf(said, "unknown option(s): `-o %63[^']", option) == 1)
		return error_set(err, r, "-o %s: no such mount option", option);
	if (r == -EINVAL)
		return error_set(err, r, "-o: %s",
				 *said ? said : "libfuse refuses the options");
	return error_set(err, r, "%s: cannot be mounted on: %s%s", mountpoint,
			 *said ? said : "no permission",
			 strstr(said, "not permitted") ? "; " CONTAINER_HINT
						       : "");
}

int session_open(struct server *server, const struct session_options *options,
		 struct session **ret, struct error *err)
{
	AUTO_FREE char *mount = mount_options(options);
	AUTO(session) session = calloc(1, sizeof(*session));
	struct captured captured;
	char said[256];

	if (!mount || !session)
		return error_set(err, -ENOMEM, "out of memory");
	session->server = server;
	session->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	session->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (session->news < 0 || session->stop < 0)
		return error_set(err, -errno, "no descriptors: %s",
				 strerror(errno));

	int r = capture(&captured);
	if (r == 0)
		r = try_mount(session, options->mountpoint, mount);
	release(&captured, said, sizeof(said));
	if (r < 0)
		return mount_error(options->mountpoint, r, said, err);

	r = backings_attach(server->backings, session->fuse);
	if (r < 0)
		return error_set(err, r, "%s: %s", options->mountpoint,
				 strerror(-r));

	server->fuse = session->fuse;

	/* Two threads poll one descriptor, and one of them will be late. */
	int fd = fuse_session_fd(session->fuse);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	*ret = TAKE(session);
	return 0;
}

void session_close(struct session *session)
{
	if (!session)
		return;
	if (session->mounted)
		fuse_session_unmount(session->fuse);
	if (session->fuse)
		fuse_session_destroy(session->fuse);
	if (session->news >= 0)
		close(session->news);
	if (session->stop >= 0)
		close(session->stop);
	free(session);
}

static void wait_for_request(const struct session *session)
{
	struct pollfd fds[] = {
		{.fd = fuse_session_fd(session->fuse), .events = POLLIN},
		{.fd = session->stop, .events = POLLIN},
	};

	poll(fds, ARRAY_SIZE(fds), -1);
}

static void *receive(void *arg)
{
	struct session *session = arg;
	struct fuse_buf buffer = {0};
	bool greeted = false;

	while (!atomic_load(&session->stopping)) {
		int r = fuse_session_receive_buf(session->fuse, &buffer);
		if (r == -EAGAIN || r == -EINTR) {
			wait_for_request(session);
			continue;
		}
		if (r <= 0)
			break;
		fuse_session_process_buf(session->fuse, &buffer);
		if (!greeted && atomic_load(&session->server->ready)) {
			greeted = true;
			eventfd_write(session->news, 1);
		}
	}
	free(buffer.mem);
	atomic_store(&session->ended, true);
	eventfd_write(session->news, 1);
	return NULL;
}

/* Until a signal comes or a receiver ends. */
static void watch(struct session *session, int signals,
		  void (*ready)(void *arg), void *arg)
{
	struct pollfd fds[] = {
		{.fd = session->news, .events = POLLIN},
		{.fd = signals, .events = POLLIN},
	};
	bool answered = false;
	eventfd_t count;

	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return;
		if (fds[1].revents || atomic_load(&session->ended))
			return;
		eventfd_read(session->news, &count);
		if (!answered && atomic_load(&session->server->ready)) {
			answered = true;
			ready(arg);
		}
	}
}

static int start_receivers(struct session *session, pthread_t *threads,
			   unsigned *ret_n)
{
	for (unsigned i = 0; i < N_RECEIVERS; i++) {
		int r = pthread_create(&threads[i], NULL, receive, session);
		if (r != 0)
			return -r;
		*ret_n = i + 1;
	}
	return 0;
}

int session_serve(struct session *session, void (*ready)(void *arg), void *arg)
{
	pthread_t threads[N_RECEIVERS];
	unsigned n_threads = 0;

	AUTO_CLOSE int fd = signals_open();
	if (fd < 0)
		return fd;
	int r = start_receivers(session, threads, &n_threads);
	if (r == 0)
		watch(session, fd, ready, arg);

	atomic_store(&session->stopping, true);
	eventfd_write(session->stop, 1);
	for (unsigned i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
	int timeout = reads_wait(session->server->reads, SESSION_PATIENCE);
	return r < 0 ? r : timeout;
}
