#include "util/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

static _Thread_local sigjmp_buf *guard;

static void on_sigbus(int signal_number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (guard)
		siglongjmp(*guard, 1);

	/* Not ours: die of it, as without this handler. */
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

int fault_init(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		/* The signal stays unblocked, so no mask has to be saved. */
		.sa_flags = SA_SIGINFO | SA_NODEFER,
	};

	sigemptyset(&action.sa_mask);
	return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int fault_guard(void (*body)(void *arg), void *arg)
{
	sigjmp_buf here;

	if (sigsetjmp(here, 0) != 0) {
		guard = NULL;
		return -EIO;
	}
	guard = &here;
	body(arg);
	guard = NULL;
	return 0;
}
