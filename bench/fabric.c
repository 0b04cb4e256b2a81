/* SPDX-License-Identifier: MIT */
/*
 * fabric.c: the baseline of the NDK rows: libfabric's tcp provider, two connected endpoints in this
 * process, driven by one thread that polls both completion queues. Nothing else of Ketch uses
 * libfabric.
 */
#include <arpa/inet.h>
#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>
#include <rdma/fi_rma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/bench.h"

#define BUFFER (4u << 20)

struct end {
	struct fid_ep *ep;
	struct fid_cq *cq;
	struct fid_eq *eq;
	struct fid_mr *mr;
	char *data;
	struct fi_context2 contexts[64];
};

static struct fi_info *info;
static struct fid_fabric *fabric;
static struct fid_domain *domain;
static struct fid_pep *pep;
static struct fid_eq *pep_eq;
static struct end ends[2]; /* active, passive */

static void must(int result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "ketch-bench: libfabric: %s: %s\n", what, fi_strerror(-result));
	exit(2);
}

static void get_info(void)
{
	struct fi_info *hints = fi_allocinfo();
	hints->ep_attr->type = FI_EP_MSG;
	hints->caps = FI_MSG | FI_RMA;
	hints->mode = FI_CONTEXT | FI_CONTEXT2;
	hints->domain_attr->mr_mode =
		FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY;
	hints->fabric_attr->prov_name = strdup("tcp");
	must(fi_getinfo(FI_VERSION(1, 17), "127.0.0.1", "0", FI_SOURCE, hints, &info),
	     "fi_getinfo");
	fi_freeinfo(hints);
	must(fi_fabric(info->fabric_attr, &fabric, NULL), "fi_fabric");
	must(fi_domain(fabric, info, &domain, NULL), "fi_domain");
}

static void open_end(struct end *end, struct fi_info *with)
{
	struct fi_cq_attr cq = {.format = FI_CQ_FORMAT_MSG, .wait_obj = FI_WAIT_NONE, .size = 256};
	struct fi_eq_attr eq = {.wait_obj = FI_WAIT_UNSPEC};
	end->data = aligned_alloc(4096, BUFFER);
	memset(end->data, 1, BUFFER);
	must(fi_endpoint(domain, with, &end->ep, NULL), "fi_endpoint");
	must(fi_cq_open(domain, &cq, &end->cq, NULL), "fi_cq_open");
	must(fi_eq_open(fabric, &eq, &end->eq, NULL), "fi_eq_open");
	must(fi_ep_bind(end->ep, &end->cq->fid, FI_TRANSMIT | FI_RECV), "fi_ep_bind");
	must(fi_ep_bind(end->ep, &end->eq->fid, 0), "fi_ep_bind");
	must(fi_enable(end->ep), "fi_enable");
	must(fi_mr_reg(domain, end->data, BUFFER,
		       FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE, 0,
		       (uint64_t)(end - ends), 0, &end->mr, NULL),
	     "fi_mr_reg");
}

/* Events of the three queues arrive when somebody reads them: read all until `eq` has this one. */
static void wait_event(struct fid_eq *eq, uint32_t wanted, struct fi_eq_cm_entry *entry)
{
	struct fid_eq *all[] = {pep_eq, ends[0].eq, ends[1].eq};
	uint64_t until = bench_now() + 10000000000u;
	static bool connected[3];
	for (;;) {
		for (unsigned i = 0; i < 3; i++) {
			uint32_t event = 0;
			ssize_t size = -FI_EAGAIN;
			if (all[i] && !connected[i])
				size = fi_eq_read(all[i], &event, entry, sizeof *entry, 0);
			must(size == -FI_EAGAIN ? 0 : (int)size, "fi_eq_read");
			if (size > 0 && event == FI_CONNECTED)
				connected[i] = true;
			if (all[i] == eq &&
			    (event == wanted || (connected[i] && wanted == FI_CONNECTED)))
				return;
		}
		must(bench_now() < until ? 0 : -FI_ETIMEDOUT, "connect");
	}
}

void fabric_begin(void)
{
	struct fi_eq_attr eq = {.wait_obj = FI_WAIT_UNSPEC};
	struct fi_eq_cm_entry entry;
	char address[64];
	size_t size = sizeof address;
	if (fabric)
		return;
	get_info();
	must(fi_eq_open(fabric, &eq, &pep_eq, NULL), "fi_eq_open");
	must(fi_passive_ep(fabric, info, &pep, NULL), "fi_passive_ep");
	must(fi_pep_bind(pep, &pep_eq->fid, 0), "fi_pep_bind");
	must(fi_listen(pep), "fi_listen");
	must(fi_getname(&pep->fid, address, &size), "fi_getname");
	open_end(&ends[0], info);
	must(fi_connect(ends[0].ep, address, NULL, 0), "fi_connect");
	wait_event(pep_eq, FI_CONNREQ, &entry);
	open_end(&ends[1], entry.info);
	must(fi_accept(ends[1].ep, NULL, 0), "fi_accept");
	fi_freeinfo(entry.info);
	wait_event(ends[1].eq, FI_CONNECTED, &entry);
	wait_event(ends[0].eq, FI_CONNECTED, &entry);
}

/* Poll both ends until `end` has `count` more completions. */
static void wait_completions(struct end *end, unsigned count)
{
	struct end *other = end == &ends[0] ? &ends[1] : &ends[0];
	struct fi_cq_msg_entry entries[64];
	while (count) {
		ssize_t got = fi_cq_read(end->cq, entries, count < 64 ? count : 64);
		if (got > 0)
			count -= (unsigned)got;
		else
			must(got == -FI_EAGAIN ? 0 : (int)got, "fi_cq_read");
		if (count)
			fi_cq_read(other->cq, entries, 0); /* progress */
	}
}

double fabric_write(unsigned count)
{
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		struct iovec iov = {ends[0].data, 4096};
		uint64_t base =
			info->domain_attr->mr_mode & FI_MR_VIRT_ADDR ? (uint64_t)ends[1].data : 0;
		struct fi_rma_iov remote = {base, 4096, fi_mr_key(ends[1].mr)};
		void *desc = fi_mr_desc(ends[0].mr);
		struct fi_msg_rma message = {.msg_iov = &iov,
					     .desc = &desc,
					     .iov_count = 1,
					     .rma_iov = &remote,
					     .rma_iov_count = 1,
					     .context = ends[0].contexts};
		must((int)fi_writemsg(ends[0].ep, &message, FI_DELIVERY_COMPLETE | FI_COMPLETION),
		     "fi_writemsg");
		wait_completions(&ends[0], 1);
	}
	return (double)(bench_now() - begin) / count;
}

static void receive(struct end *end, unsigned slot)
{
	must((int)fi_recv(end->ep, end->data + 65536 + slot * 64, 64, fi_mr_desc(end->mr), 0,
			  &end->contexts[slot]),
	     "fi_recv");
}

static void post_send(struct end *end, unsigned slot)
{
	ssize_t result;
	while ((result = fi_send(end->ep, end->data + slot * 64, 64, fi_mr_desc(end->mr), 0,
				 &end->contexts[slot])) == -FI_EAGAIN)
		fi_cq_read(end->cq, NULL, 0);
	must((int)result, "fi_send");
}

/* One round trip: what both ends send and receive. */
double fabric_pingpong(unsigned count)
{
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		for (unsigned side = 0; side < 2; side++) {
			receive(&ends[!side], 0);
			post_send(&ends[side], 0);
			wait_completions(&ends[!side], 1);
			wait_completions(&ends[side], 1);
		}
	}
	return (double)(bench_now() - begin) / count;
}

/* 64 messages one way, all outstanding; ns for one message. */
double fabric_stream(unsigned count)
{
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i += 64) {
		for (unsigned slot = 0; slot < 64; slot++)
			receive(&ends[1], slot);
		for (unsigned slot = 0; slot < 64; slot++)
			post_send(&ends[0], slot);
		wait_completions(&ends[1], 64);
		wait_completions(&ends[0], 64);
	}
	return (double)(bench_now() - begin) / count;
}

static double registrations(unsigned count, size_t size)
{
	static char *memory;
	if (!memory)
		memory = aligned_alloc(4096, (size_t)1 << 30);
	uint64_t begin = bench_now();
	for (unsigned i = 0; i < count; i++) {
		struct fid_mr *mr;
		must(fi_mr_reg(domain, memory, size, FI_REMOTE_READ | FI_REMOTE_WRITE, 0, 2, 0, &mr,
			       NULL),
		     "fi_mr_reg");
		fi_close(&mr->fid);
	}
	return (double)(bench_now() - begin) / count;
}

double fabric_register_4k(unsigned count)
{
	return registrations(count, 4096);
}

double fabric_register_1m(unsigned count)
{
	return registrations(count, 1 << 20);
}

double fabric_register_1g(unsigned count)
{
	return registrations(count, (size_t)1 << 30);
}
