/*
 * Reading mapped files safely: a page that cannot be brought in (the file was
 * truncated, the disk failed) ends as -EIO for that one call, not as SIGBUS
 * for the process.
 */
#ifndef UTIL_FAULT_H
#define UTIL_FAULT_H

/* Installs the SIGBUS handler, once for the process. 0 or negative errno. */
int fault_init(void);

/*
 * Calls body(arg), which may read mapped files and write its own memory, and
 * must hold no lock and no resource: it may be cut off anywhere. Returns 0, or
 * -EIO when a page was not to be had. A SIGBUS outside any guard kills the
 * process as usual. May be called from any thread; guards do not nest.
 */
int fault_guard(void (*body)(void *arg), void *arg);

#endif
