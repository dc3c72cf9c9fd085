#include "fs/log.h"

#include "tests/unit/check.h"

int main(void)
{
	struct log log;
	unsigned skipped = 99;

	log_init(&log, "test", true);
	CHECK(log_due(&log, 1, &skipped) && skipped == 0);
	for (unsigned i = 0; i < 5; i++)
		CHECK(!log_due(&log, 1, &skipped));
	CHECK(log_due(&log, 2, &skipped) && skipped == 0);

	/* A minute later the next line is due, and says how many were not. */
	for (unsigned i = 0; i < LOG_TOPICS; i++)
		log.topics[i].since -= log.topics[i].since ? 60 : 0;
	CHECK(log_due(&log, 1, &skipped) && skipped == 5);
	CHECK(!log_due(&log, 1, &skipped));

	/* More topics than rows push out the oldest, no others. */
	for (uint64_t topic = 100; topic < 100 + LOG_TOPICS - 1; topic++)
		CHECK(log_due(&log, topic, &skipped));
	CHECK(!log_due(&log, 100 + LOG_TOPICS - 2, &skipped));
	log_done(&log);
	return 0;
}
