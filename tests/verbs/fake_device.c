/* SPDX-License-Identifier: MIT */
/* fake_device.c: devices, protection domains, regions, windows, events. See fake.h. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fake.h"

pthread_mutex_t fake_lock = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t fake_changed = PTHREAD_COND_INITIALIZER;
long fake_live[FAKE_KINDS];

/* ---- Failures on demand ---- */

void fake_error(const char *format, ...)
{
	char text[300];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	fprintf(stderr, "FAIL fake device: %s\n", text);
}

bool fake_fails(const char *name)
{
	static _Atomic int calls;
	const char *wanted = getenv("FAKE_FAIL");
	size_t length = strlen(name);
	if (!wanted || strncmp(wanted, name, length) || wanted[length] != ':')
		return false;
	char *end;
	if (strtol(wanted + length + 1, &end, 10) != ++calls)
		return false;
	errno = *end == ':' ? atoi(end + 1) : ENOMEM;
	fprintf(stderr, "fake: %s failed\n", name);
	return true;
}

bool fake_now(const char *name)
{
	static struct {
		const char *name;
		int calls;
	} seen[8];
	char variable[40];
	snprintf(variable, sizeof variable, "FAKE_%s", name);
	const char *wanted = getenv(variable);
	if (!wanted)
		return false;
	unsigned i = 0;
	while (seen[i].name && strcmp(seen[i].name, name))
		i++;
	seen[i].name = name;
	bool now = atoi(wanted) == ++seen[i].calls;
	if (now)
		fprintf(stderr, "fake: %s\n", name);
	return now;
}

/* The program ends so: what has it left? */
void _exit(int status)
{
	static const char *const names[FAKE_KINDS] = {
		"protection domains",    "regions",       "windows", "queue pairs",
		"shared receive queues", "connection ids"};
	for (unsigned i = 0; i < FAKE_KINDS; i++)
		if (fake_live[i] && !getenv("FAKE_KEEP"))
			fake_error("%ld %s left", fake_live[i], names[i]);
	for (;;)
		syscall(SYS_exit_group, status);
}

/* ---- The interfaces of the devices ---- */

int getifaddrs(struct ifaddrs **list)
{
	static struct {
		struct ifaddrs link;
		union {
			struct sockaddr_in v4;
			struct sockaddr_in6 v6;
		} address, mask;
	} all[4];
	static const char *const text[4] = {"192.0.2.1", "fd00::1", "192.0.2.2", "fd00::2"};
	static char names[2][8] = {"wire1", "wire2"};
	for (unsigned i = 0; i < 4; i++) {
		struct ifaddrs *a = &all[i].link;
		*a = (struct ifaddrs){.ifa_next = i < 3 ? &all[i + 1].link : NULL,
				      .ifa_name = names[i / 2],
				      .ifa_addr = (struct sockaddr *)&all[i].address,
				      .ifa_netmask = (struct sockaddr *)&all[i].mask};
		if (i % 2) {
			all[i].address.v6.sin6_family = all[i].mask.v6.sin6_family = AF_INET6;
			inet_pton(AF_INET6, text[i], &all[i].address.v6.sin6_addr);
			memset(&all[i].mask.v6.sin6_addr, 255, 8);
		} else {
			all[i].address.v4.sin_family = all[i].mask.v4.sin_family = AF_INET;
			inet_pton(AF_INET, text[i], &all[i].address.v4.sin_addr);
			all[i].mask.v4.sin_addr.s_addr = htonl(0xffffff00);
		}
	}
	*list = &all[0].link;
	return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
	(void)list;
}

/* Of interest is "/sys/class/infiniband/rxe1/device/net/wire1". */
int access(const char *path, int mode)
{
	char device, interface;
	if (sscanf(path, "/sys/class/infiniband/rxe%c/device/net/wire%c", &device, &interface) == 2)
		return device == interface ? 0 : -1;
	return (int)syscall(SYS_access, path, mode);
}

/* ---- Devices ---- */

static struct ibv_device rxe1 = {
	.node_type = IBV_NODE_CA, .transport_type = IBV_TRANSPORT_IB, .name = "rxe1"};
static struct ibv_device rxe2 = {
	.node_type = IBV_NODE_CA, .transport_type = IBV_TRANSPORT_IB, .name = "rxe2"};
struct ibv_device *const fake_devices[FAKE_DEVICES] = {&rxe1, &rxe2};

struct event {
	struct event *next;
	struct ibv_async_event ibv;
};

struct context {
	struct ibv_context ibv;
	struct event *first, **last;
	bool dead;
};

struct ibv_device **ibv_get_device_list(int *count)
{
	struct ibv_device **list = calloc(FAKE_DEVICES + 1, sizeof *list);
	memcpy(list, fake_devices, sizeof fake_devices);
	*count = FAKE_DEVICES;
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type);
static int dealloc_mw(struct ibv_mw *mw);

struct ibv_context *ibv_open_device(struct ibv_device *device)
{
	if (fake_fails("ibv_open_device"))
		return NULL;
	struct context *c = calloc(1, sizeof *c);
	c->ibv.device = device;
	c->last = &c->first;
	fake_queue_operations(&c->ibv.ops);
	c->ibv.ops.alloc_mw = alloc_mw;
	c->ibv.ops.dealloc_mw = dealloc_mw;
	return &c->ibv;
}

int ibv_close_device(struct ibv_context *context)
{
	free(context);
	return 0;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *a)
{
	(void)context;
	*a = (struct ibv_device_attr){
		.vendor_id = getenv("FAKE_SOFT") ? 0xffffff : 0x123456,
		.max_mr_size = 1ull << 40,
		.max_qp_wr = 4096,
		.max_sge = FAKE_SGES,
		.max_sge_rd = FAKE_SGES,
		.max_cqe = 1 << 20,
		.max_qp_rd_atom = 16,
		.max_qp_init_rd_atom = 16,
		.max_srq = 100,
		.max_srq_wr = 4096,
		.max_srq_sge = FAKE_SGES,
		.device_cap_flags = IBV_DEVICE_MEM_WINDOW_TYPE_2B,
	};
	return fake_fails("ibv_query_device") ? EIO : 0;
}

int ibv_query_port(struct ibv_context *context, uint8_t number, struct _compat_ibv_port_attr *port)
{
	(void)context;
	(void)number;
	struct ibv_port_attr *a = (struct ibv_port_attr *)port;
	a->max_msg_sz = 1u << 23;
	a->link_layer = IBV_LINK_LAYER_ETHERNET;
	a->state = IBV_PORT_ACTIVE;
	return 0;
}

int ibv_query_gid(struct ibv_context *context, uint8_t port, int index, union ibv_gid *gid)
{
	(void)context, (void)port, (void)index, (void)gid;
	return -1;
}

/* ---- Events ---- */

bool fake_dead(const struct ibv_context *context)
{
	return ((const struct context *)context)->dead;
}

void fake_event(struct ibv_context *context, enum ibv_event_type type, struct fake_qp *qp)
{
	struct context *c = (struct context *)context;
	struct event *e = calloc(1, sizeof *e);
	e->ibv.event_type = type;
	if (qp) {
		e->ibv.element.qp = &qp->ibv;
		qp->events++;
	}
	if (type == IBV_EVENT_DEVICE_FATAL)
		c->dead = true;
	*c->last = e;
	c->last = &e->next;
	pthread_cond_broadcast(&fake_changed);
}

int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	struct context *c = (struct context *)context;
	pthread_mutex_lock(&fake_lock);
	while (!c->first)
		pthread_cond_wait(&fake_changed, &fake_lock);
	struct event *e = c->first;
	c->first = e->next;
	if (!c->first)
		c->last = &c->first;
	*event = e->ibv;
	free(e);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}

static bool is_of_qp(enum ibv_event_type type)
{
	return type == IBV_EVENT_QP_FATAL || type == IBV_EVENT_QP_REQ_ERR ||
	       type == IBV_EVENT_QP_ACCESS_ERR;
}

void ibv_ack_async_event(struct ibv_async_event *event)
{
	pthread_mutex_lock(&fake_lock);
	if (is_of_qp(event->event_type))
		((struct fake_qp *)event->element.qp)->events--;
	pthread_cond_broadcast(&fake_changed);
	pthread_mutex_unlock(&fake_lock);
}

/* What nobody has got yet is lost; what somebody has got must be acknowledged. */
void fake_event_forget(struct fake_qp *qp)
{
	struct context *c = (struct context *)qp->ibv.context;
	struct event **link = &c->first, *e;
	while ((e = *link)) {
		if (is_of_qp(e->ibv.event_type) && e->ibv.element.qp == &qp->ibv) {
			*link = e->next;
			free(e);
			qp->events--;
		} else {
			link = &e->next;
		}
	}
	c->last = link;
	while (qp->events)
		pthread_cond_wait(&fake_changed, &fake_lock);
}

/* ---- Keys: an index, and 8 bits that change with each use ---- */

#define KEYS 0x10000u

static struct {
	void *object;
	bool window;
	uint8_t turn;
} keys[KEYS];

uint32_t fake_key_put(void *object, bool window)
{
	static uint32_t next = 1;
	for (;; next++) {
		uint32_t i = next % KEYS;
		if (!i || keys[i].object)
			continue;
		next++;
		keys[i].object = object;
		keys[i].window = window;
		return i << 8 | ++keys[i].turn;
	}
}

void fake_key_drop(uint32_t key)
{
	keys[key >> 8].object = NULL;
}

struct fake_mr *fake_mr_find(uint32_t key, const struct ibv_pd *pd)
{
	struct fake_mr *mr =
		key >> 8 < KEYS && !keys[key >> 8].window ? keys[key >> 8].object : NULL;
	return mr && mr->ibv.lkey == key && mr->ibv.pd == pd ? mr : NULL;
}

struct fake_mw *fake_mw_find(uint32_t key)
{
	struct fake_mw *mw =
		key >> 8 < KEYS && keys[key >> 8].window ? keys[key >> 8].object : NULL;
	return mw && mw->key == key ? mw : NULL;
}

/* ---- Protection domains, regions, windows ---- */

static void add(enum fake_kind kind, struct ibv_pd *pd, long count)
{
	fake_live[kind] += count;
	if (pd)
		((struct fake_pd *)pd)->children += count;
}

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	pthread_mutex_lock(&fake_lock);
	struct fake_pd *pd = fake_fails("ibv_alloc_pd") ? NULL : calloc(1, sizeof *pd);
	if (pd) {
		pd->ibv.context = context;
		add(FAKE_PD, NULL, 1);
	}
	pthread_mutex_unlock(&fake_lock);
	return pd ? &pd->ibv : NULL;
}

int ibv_dealloc_pd(struct ibv_pd *ibv)
{
	struct fake_pd *pd = (struct fake_pd *)ibv;
	int error = 0;
	pthread_mutex_lock(&fake_lock);
	if (pd->children) {
		fake_error("a protection domain goes with %ld objects", pd->children);
		error = EBUSY;
	} else {
		add(FAKE_PD, NULL, -1);
		free(pd);
	}
	pthread_mutex_unlock(&fake_lock);
	return error;
}

struct ibv_mr *ibv_reg_mr_iova(struct ibv_pd *pd, void *address, size_t length, uint64_t iova,
			       int access_flags)
{
	const char *slow = getenv("FAKE_SLOW");
	if (slow)
		usleep((useconds_t)atoi(slow) * 1000);
	pthread_mutex_lock(&fake_lock);
	struct fake_mr *mr = fake_fails("ibv_reg_mr") ? NULL : calloc(1, sizeof *mr);
	if (mr) {
		mr->ibv = (struct ibv_mr){
			.context = pd->context, .pd = pd, .addr = address, .length = length};
		mr->iova = iova;
		mr->access = access_flags;
		mr->ibv.lkey = mr->ibv.rkey = fake_key_put(mr, false);
		add(FAKE_MR, pd, 1);
	}
	pthread_mutex_unlock(&fake_lock);
	return mr ? &mr->ibv : NULL;
}

struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *address, size_t length, int access_flags)
{
	return ibv_reg_mr_iova(pd, address, length, (uint64_t)address, access_flags);
}

int ibv_dereg_mr(struct ibv_mr *ibv)
{
	struct fake_mr *mr = (struct fake_mr *)ibv;
	int error = 0;
	pthread_mutex_lock(&fake_lock);
	if (fake_fails("ibv_dereg_mr")) {
		error = errno;
	} else if (mr->windows) {
		fake_error("a region goes with %ld windows", mr->windows);
		error = EBUSY;
	} else {
		fake_key_drop(ibv->lkey);
		add(FAKE_MR, ibv->pd, -1);
		free(mr);
	}
	pthread_mutex_unlock(&fake_lock);
	return error;
}

static struct ibv_mw *alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	pthread_mutex_lock(&fake_lock);
	struct fake_mw *mw = fake_fails("ibv_alloc_mw") ? NULL : calloc(1, sizeof *mw);
	if (mw) {
		mw->ibv = (struct ibv_mw){.context = pd->context, .pd = pd, .type = type};
		mw->ibv.rkey = mw->key = fake_key_put(mw, true);
		add(FAKE_MW, pd, 1);
	}
	pthread_mutex_unlock(&fake_lock);
	return mw ? &mw->ibv : NULL;
}

static int dealloc_mw(struct ibv_mw *ibv)
{
	struct fake_mw *mw = (struct fake_mw *)ibv;
	pthread_mutex_lock(&fake_lock);
	if (mw->mr) {
		mw->mr->windows--;
		mw->qp->windows--;
	}
	fake_key_drop(mw->key);
	add(FAKE_MW, ibv->pd, -1);
	free(mw);
	pthread_mutex_unlock(&fake_lock);
	return 0;
}
