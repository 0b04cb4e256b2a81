/* SPDX-License-Identifier: MIT */
/* words64.c: prints its words, each in <>. */
#include <stdio.h>

int main(int count, char **words)
{
	for (int i = 1; i < count; i++)
		printf("<%s>", words[i]);
	putchar('\n');
	return 0;
}
