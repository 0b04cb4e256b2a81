/* SPDX-License-Identifier: MIT */
/*
 * verbs_library.c: load libibverbs and librdmacm (rdma-core) when the first verbs adapter is
 * opened. A run without one neither needs them nor pays for them.
 *
 * Runs on host threads before the machine boots; no locks.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include "port/linux/verbs_library.h"

struct verbs_library verbs;

static void *load(const char *file, char *why, size_t size)
{
	void *library = dlopen(file, RTLD_NOW | RTLD_GLOBAL);
	if (!library)
		snprintf(why, size,
			 "%s (Debian: apt-get install libibverbs1 librdmacm1 ibverbs-providers)",
			 dlerror());
	return library;
}

static bool find(void *library, const char *name, void **function, char *why, size_t size)
{
	*function = dlsym(library, name);
	if (!*function)
		snprintf(why, size, "rdma-core is too old: it has no %s", name);
	return *function;
}

bool verbs_library_load(char *why, size_t size)
{
	static bool loaded;
	if (loaded)
		return true;
	void *ibv = load("libibverbs.so.1", why, size);
	void *rdma = ibv ? load("librdmacm.so.1", why, size) : NULL;
	if (!rdma)
		return false;
#define VERBS_BIND(library, name)                                                                  \
	if (!find(library, #name, (void **)&verbs.name, why, size))                                \
		return false;
#define VERBS_BIND_IBV(name)  VERBS_BIND(ibv, name)
#define VERBS_BIND_RDMA(name) VERBS_BIND(rdma, name)
	VERBS_IBV_FUNCTIONS(VERBS_BIND_IBV)
	VERBS_RDMA_FUNCTIONS(VERBS_BIND_RDMA)
	loaded = true;
	return true;
}
