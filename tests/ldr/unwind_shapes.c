/* SPDX-License-Identifier: MIT */
/*
 * Functions of many shapes, for the test that unwinds from each of their instructions. Compiled for
 * Windows, by clang and by mingw's gcc, at several levels of optimisation. `shapes` runs them all
 * and returns a number that depends on all.
 */
typedef unsigned long long u64;

#define SHAPE  __attribute__((noinline))
#define EXPORT __declspec(dllexport)

static volatile u64 sink;
static volatile u64 source = 3;
static volatile double fraction = 1.5;

/* Compilers call it for structures. */
void *memcpy(void *to, const void *from, u64 size)
{
	volatile char *a = to;
	const volatile char *b = from;

	while (size--) {
		*a++ = *b++;
	}
	return to;
}

SHAPE static u64 leaf(u64 a, u64 b)
{
	return a * 3 + b;
}

SHAPE static u64 small_frame(u64 a)
{
	volatile u64 local[4];

	local[a & 3] = leaf(a, 1);
	return local[a & 3] + 1;
}

/* More than a page: the prologue probes the stack. */
SHAPE static u64 large_frame(u64 a)
{
	volatile char local[9000];

	local[a % 9000] = (char)a;
	local[8999] = (char)small_frame(a);
	return (u64)local[a % 9000] + (u64)local[8999];
}

/* More than 512 KiB, the largest that the short form of its unwind code says; not touched but at
 * its end. */
SHAPE static u64 huge_frame(u64 a)
{
	volatile char local[700000];

	local[0] = (char)leaf(a, a);
	return (u64)local[0];
}

/* Keeps so much alive over calls that all nonvolatile registers are used. */
SHAPE static u64 many_registers(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	u64 g = source + a, h = source + b, i = source + c, j = source + d, k = source + e,
	    l = source + f, m = source * a;

	sink = leaf(g, h);
	sink = leaf(i, j);
	sink = small_frame(k);
	return a + b * 3 + c * 5 + d * 7 + e * 11 + f * 13 + g + h + i + j + k + l + m;
}

SHAPE static double many_floats(double a, double b)
{
	double c = fraction + a, d = fraction * b, e = fraction - a, f = fraction / b,
	       g = fraction + 2, h = fraction * 3, i = fraction - 4, j = fraction / 5;

	sink = leaf((u64)c, 2);
	sink = small_frame((u64)d);
	return a + b + c * d + e * f + g * h + i * j;
}

/* A frame pointer, as the size of the frame is not known. */
SHAPE static u64 variable_frame(u64 size)
{
	volatile char *memory = __builtin_alloca(size);

	memory[0] = 1;
	memory[size - 1] = (char)leaf(size, 2);
	return (u64)memory[0] + (u64)memory[size - 1] + small_frame(size);
}

SHAPE static u64 variable_many(u64 size, double a, u64 b, u64 c)
{
	u64 d = source + b, e = source + c, f = source * d;
	double g = fraction * a, h = fraction + a;
	volatile char *memory = __builtin_alloca(size);

	memory[size / 2] = (char)many_registers(b, c, d, e, f, size);
	return (u64)memory[size / 2] + d + e + f + (u64)(g * h) + variable_frame(size);
}

SHAPE static u64 tail_call(u64 a)
{
	sink = leaf(a, 1);
	return small_frame(a + 1);
}

static u64 (*volatile pointer)(u64) = small_frame;

SHAPE static u64 tail_call_pointer(u64 a)
{
	sink = leaf(a, 2);
	return pointer(a + 2);
}

SHAPE static u64 recursive(u64 depth)
{
	if (depth == 0) {
		return leaf(depth, 5);
	}
	return recursive(depth - 1) * 3 + depth;
}

/* An early way out, before and after registers are saved. */
SHAPE static u64 early(u64 a, u64 b)
{
	u64 c;

	if (a == 0) {
		return b;
	}
	c = small_frame(a);
	if (c & 1) {
		return c + leaf(a, b);
	}
	return many_registers(a, b, c, 1, 2, 3) + c;
}

SHAPE static u64 choose(u64 a)
{
	switch (a) {
	case 0:
		return leaf(1, 2);
	case 1:
		return small_frame(3);
	case 2:
		return source;
	case 3:
		return large_frame(4);
	case 4:
		return tail_call(5);
	case 5:
		return sink;
	default:
		return recursive(2);
	}
}

SHAPE static u64 variadic(int count, ...)
{
	__builtin_va_list arguments;
	u64 sum = 0;

	__builtin_va_start(arguments, count);
	while (count-- > 0) {
		sum += leaf(__builtin_va_arg(arguments, u64), 1);
	}
	__builtin_va_end(arguments);
	return sum;
}

struct big {
	u64 values[12];
};

SHAPE static struct big by_value(struct big in, u64 a)
{
	in.values[a % 12] += small_frame(a);
	return in;
}

static u64 big_sum(void)
{
	struct big big = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}};
	u64 sum = 0;

	big = by_value(big, source);
	for (int i = 0; i < 12; i++) {
		sum += big.values[i];
	}
	return sum;
}

EXPORT u64 shapes(void)
{
	u64 sum = leaf(1, 2) + small_frame(3) + large_frame(4) + huge_frame(5);

	sum += many_registers(1, 2, 3, 4, 5, 6);
	sum += (u64)many_floats(1.25, 2.5);
	sum += variable_frame(100) + variable_frame(5000);
	sum += variable_many(300, 2.5, 7, 8);
	sum += tail_call(9) + tail_call_pointer(10);
	sum += recursive(4);
	sum += early(0, 1) + early(1, 2) + early(2, 3);
	for (u64 i = 0; i < 7; i++) {
		sum += choose(i);
	}
	sum += variadic(3, (u64)1, (u64)2, (u64)3);
	sum += big_sum();
	return sum;
}

/* The linker wants an entry point; nobody calls it. */
long DriverEntry(void *driver, void *path)
{
	(void)driver;
	(void)path;
	return 0;
}
int _fltused;
