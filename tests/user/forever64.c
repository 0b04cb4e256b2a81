/* SPDX-License-Identifier: MIT */
/* forever64.c: says `ready` and ignores all that would end it; with a word it ends by SIGTERM. */
#include <signal.h>
#include <unistd.h>

static void end(int number)
{
	(void)number;
	_exit(0);
}

int main(int count, char **words)
{
	(void)words;
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, count > 1 ? end : SIG_IGN);
	if (write(1, "ready\n", 6) != 6)
		return 1;
	for (;;)
		pause();
}
