/* SPDX-License-Identifier: MIT */
/*
 * program.c: where the program itself lies in memory (DEF-334). Reads the program headers that the
 * kernel passed at start: no lock, callable in any context.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <sys/auxv.h>
#include "port/port.h"

static uint64_t round_down(uint64_t address)
{
	return address & ~(uint64_t)(PORT_PAGE_SIZE - 1);
}

unsigned port_program_segments(struct port_segment *segments, unsigned room)
{
	const Elf64_Phdr *headers = (const Elf64_Phdr *)getauxval(AT_PHDR);
	unsigned long header_count = getauxval(AT_PHNUM);
	uint64_t bias = 0;
	unsigned count = 0;

	for (unsigned long i = 0; i < header_count; i++) {
		if (headers[i].p_type == PT_PHDR)
			bias = (uint64_t)headers - headers[i].p_vaddr;
	}
	for (unsigned long i = 0; i < header_count && count < room; i++) {
		const Elf64_Phdr *from = &headers[i];
		unsigned protection = (from->p_flags & PF_R ? PORT_READ : 0) |
				      (from->p_flags & PF_W ? PORT_WRITE : 0) |
				      (from->p_flags & PF_X ? PORT_EXECUTE : 0);

		if (from->p_type != PT_LOAD || from->p_memsz == 0)
			continue;
		segments[count++] = (struct port_segment){
			.start = round_down(bias + from->p_vaddr),
			.end = round_down(bias + from->p_vaddr + from->p_memsz + PORT_PAGE_SIZE -
					  1),
			.protection = protection,
		};
	}
	return count;
}
