/* SPDX-License-Identifier: MIT */
/* sleeper64.c: sleeps for a second; exits with 0 if that was neither interrupted nor cut short. */
#include <time.h>

int main(void)
{
	struct timespec begin, end, second = {.tv_sec = 1};
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (nanosleep(&second, 0) != 0)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000 < 1000;
}
