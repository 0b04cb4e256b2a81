/* SPDX-License-Identifier: MIT */
/*
 * bounds32: a 32-bit Linux program that checks its indices with BOUND; bound_guard.c is the driver
 * for it. Without a C library:
 *
 *     clang --target=i386-linux-gnu -nostdlib -static -fuse-ld=lld -O2 -o bounds32 bounds32.c
 *
 *     bounds32 [ITEMS]     stores and adds up 0 .. ITEMS-1, of which its bounds allow four at first
 */

#define ROOM 64

/* As BOUND reads them. */
struct bounds {
	int lower, upper;
};

static struct bounds bounds = {0, 3};
static int items[ROOM];

/* 62 0A: bound ecx, [edx]. Goes on if bounds.lower <= index <= bounds.upper. */
static int checked(int index)
{
	__asm__ volatile(".byte 0x62, 0x0a" : : "c"(index), "d"(&bounds) : "memory");
	return index;
}

/* ---- What a C library would do ---- */

static int call(int number, int a, int b, int c)
{
	int result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a), "c"(b), "d"(c)
			 : "memory");
	return result;
}

static void print(const char *text)
{
	int size = 0;
	while (text[size])
		size++;
	call(4, 1, (int)text, size);
}

static void print_number(int number)
{
	char text[12], *p = &text[11];
	*p = 0;
	do
		*--p = (char)('0' + number % 10);
	while (number /= 10);
	print(p);
}

static int number_of(const char *text)
{
	int number = 0;
	while (*text >= '0' && *text <= '9')
		number = number * 10 + *text++ - '0';
	return number;
}

__attribute__((used)) static void run(int argc, char **argv)
{
	int count = argc > 1 ? number_of(argv[1]) : 10, sum = 0, i;
	for (i = 0; i < count; i++)
		items[checked(i)] = i;
	for (i = 0; i < count; i++)
		sum += items[checked(i)];
	print("bounds32: ");
	print_number(count);
	print(" items, sum ");
	print_number(sum);
	print(", upper bound ");
	print_number(bounds.upper);
	print("\n");
	call(1, 0, 0, 0);
}

__asm__(".globl _start\n"
	"_start:\n"
	"	movl (%esp), %eax\n"
	"	leal 4(%esp), %edx\n"
	"	andl $-16, %esp\n"
	"	subl $8, %esp\n"
	"	pushl %edx\n"
	"	pushl %eax\n"
	"	call run\n");
