/*
 * Going to the background: the command returns once the mount answers.
 */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H

/*
 * Forks; returns in the child. The parent waits for daemon_ready() and exits
 * with 0, or with the child's status if that ends first. *ret_ready is for
 * daemon_ready(). Call before any thread exists.
 */
int daemon_start(int *ret_ready);

/* Leaves the terminal behind, then lets the parent go. Closes ready. */
void daemon_ready(int ready);

/* Ends the process with status 0 after some seconds, come what may. */
void daemon_exit_within(unsigned seconds);

#endif
