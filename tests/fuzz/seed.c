// SPDX-License-Identifier: MIT
/* The driver from which make-corpus builds seeds: a bit of everything that an image can hold. */
#include <stdint.h>

typedef int32_t NTSTATUS;

struct driver {
	char before[0x68];
	void (*unload)(struct driver *driver);
};

__declspec(dllimport) unsigned int DbgPrint(const char *format, ...);
__declspec(dllimport) void *KeRegisterNmiCallback(void *routine, void *context);
__declspec(dllimport) NTSTATUS KeDeregisterNmiCallback(void *handle);

static volatile int counter;
static void *handle;

static unsigned char callback(void *context, unsigned char handled)
{
	(void)context;
	counter++;
	return handled;
}

static void unload(struct driver *driver)
{
	(void)driver;
	KeDeregisterNmiCallback(handle);
	DbgPrint("%d\n", counter);
}

void *table[] = {(void *)callback, (void *)unload};

__attribute__((section("PAGE"))) int paged(int value)
{
	return value * 3 + counter;
}

#ifdef LIBRARY
__declspec(dllexport) int lib_alpha(int value)
{
	return value + 1;
}

__declspec(dllexport) NTSTATUS DllInitialize(void *path)
{
	(void)path;
	counter = 7;
	return 0;
}

uint64_t __security_cookie = 0x00002b992ddfa232;

const struct {
	uint32_t size;
	uint32_t none[21];
	void *cookie;
	uint64_t rest[6];
	uint32_t flags, end;
} _load_config_used = {sizeof(_load_config_used), {0}, &__security_cookie, {0}, 0x100, 0};
#endif

__attribute__((section("INIT"))) NTSTATUS DriverEntry(struct driver *driver, void *path)
{
	(void)path;
	driver->unload = unload;
	handle = KeRegisterNmiCallback((void *)callback, 0);
	return handle && paged(1) ? 0 : -1;
}
