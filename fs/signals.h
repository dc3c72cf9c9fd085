/*
 * The signals that ask a program to end: SIGTERM, SIGINT, SIGHUP. They are
 * blocked in every thread and read from a descriptor, so that they arrive
 * where the program waits, and nowhere else.
 */
#ifndef FS_SIGNALS_H
#define FS_SIGNALS_H

/* Call before any thread exists. Ignores SIGPIPE, too. */
void signals_block(void);

/* A descriptor that is readable once such a signal came, or negative errno. */
int signals_open(void);

#endif
