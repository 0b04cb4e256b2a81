// SPDX-License-Identifier: MIT
/* Writes the image of the unit tests, which has a delayed import table and forwarders, to standard
 * output. */
#include <stdio.h>

#include "pe_build.h"

int main(void)
{
	struct image image;

	image_build(&image);
	return fwrite(&image, sizeof(image), 1, stdout) == 1 ? 0 : 1;
}
