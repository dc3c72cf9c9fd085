/*
 * A mount, from the mount call to its end.
 *
 * Two threads receive requests and run the callbacks of ops.h; none of these
 * waits for data, so metadata is answered whatever is being computed. The loop
 * is our own, not libfuse's, since that one cannot be woken while files are
 * open.
 */
#ifndef FS_SESSION_H
#define FS_SESSION_H

#include <stdbool.h>

#include "util/error.h"
#include "util/macros.h"

struct server;
struct session;

struct session_options {
	const char *device;	/* shown as such: the recipe; or NULL */
	const char *mountpoint; /* resolved */
	const char *mount;	/* more mount options, escaped; or NULL */
};

/* Mounts. server is borrowed. */
int session_open(struct server *server, const struct session_options *options,
		 struct session **ret, struct error *err);

/*
 * Serves until somebody unmounts or SIGTERM, SIGINT or SIGHUP comes (signals.h;
 * they must be blocked); calls ready(arg) once the mount answers. Then waits
 * for reads that are in flight: 0, or -ETIMEDOUT when some are not done after
 * SESSION_PATIENCE; then only umount_path() and _exit() are safe. Other
 * errors: threads could not be started.
 */
#define SESSION_PATIENCE 5 /* seconds */
int session_serve(struct session *session, void (*ready)(void *arg), void *arg);

/* Unmounts, if that has not happened. No read may be in flight. */
void session_close(struct session *session);
DEFINE_AUTO(session, session_close);

#endif
