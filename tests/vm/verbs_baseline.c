/* SPDX-License-Identifier: MIT */
/*
 * verbs_baseline.c: what libibverbs itself takes, on the device that is tested: a registration of 4
 * KiB with its deregistration, and an RDMA write of 4 KiB from post to completion, polled.
 *
 * Usage: verbs_baseline [DEVICE]. Two QPs of one process, connected by hand to each other.
 */
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIZE   4096
#define PAIRS  2000
#define WRITES 500

static void fail(const char *what)
{
	printf("FAIL verbs_baseline: %s\n", what);
	exit(1);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static struct ibv_context *open_device(const char *name)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	for (struct ibv_device **d = list; d && *d; d++)
		if (!name || !strcmp(ibv_get_device_name(*d), name))
			return ibv_open_device(*d);
	return NULL;
}

/* RoCE version 2 of an IPv4 address, if there is one: its GID ends in ::ffff:a.b.c.d. */
static int gid_index(struct ibv_context *context, union ibv_gid *gid)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};
	for (int i = 0; i < 16; i++)
		if (!ibv_query_gid(context, 1, i, gid) && !memcmp(gid->raw, mapped, sizeof mapped))
			return i;
	ibv_query_gid(context, 1, 0, gid);
	return 0;
}

static void connect_qp(struct ibv_qp *qp, struct ibv_qp *peer, union ibv_gid gid, int index)
{
	struct ibv_qp_attr a = {.qp_state = IBV_QPS_INIT,
				.port_num = 1,
				.qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
	if (ibv_modify_qp(qp, &a,
			  IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		fail("INIT");
	a = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_4096,
		.dest_qp_num = peer->qp_num,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = {.is_global = 1,
			    .port_num = 1,
			    .grh = {.dgid = gid, .sgid_index = (uint8_t)index, .hop_limit = 64}}};
	if (ibv_modify_qp(qp, &a,
			  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		fail("RTR");
	a = (struct ibv_qp_attr){.qp_state = IBV_QPS_RTS,
				 .timeout = 14,
				 .retry_cnt = 7,
				 .rnr_retry = 7,
				 .max_rd_atomic = 1};
	if (ibv_modify_qp(qp, &a,
			  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC))
		fail("RTS");
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
	qsort(values, (size_t)count, sizeof *values, compare);
	return values[count / 2];
}

int main(int argc, char **argv)
{
	static double taken[PAIRS > WRITES ? PAIRS : WRITES];
	struct ibv_context *context = open_device(argc > 1 ? argv[1] : NULL);
	if (!context)
		fail("no device");
	struct ibv_pd *pd = ibv_alloc_pd(context);
	struct ibv_cq *cq = ibv_create_cq(context, 64, NULL, NULL, 0);
	char *from = aligned_alloc(4096, SIZE), *to = aligned_alloc(4096, SIZE);
	if (!pd || !cq || !from || !to)
		fail("PD or CQ");
	memset(from, 0x5a, SIZE);
	memset(to, 0, SIZE);

	int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
	for (int i = 0; i < PAIRS; i++) {
		double start = now_ns();
		struct ibv_mr *mr = ibv_reg_mr(pd, to, SIZE, access);
		if (!mr || ibv_dereg_mr(mr))
			fail("registration");
		taken[i] = now_ns() - start;
	}
	printf("verbs_baseline: register+deregister %.0f ns\n", median(taken, PAIRS));

	struct ibv_qp_init_attr init = {
		.send_cq = cq,
		.recv_cq = cq,
		.cap = {.max_send_wr = 4, .max_recv_wr = 4, .max_send_sge = 1, .max_recv_sge = 1},
		.qp_type = IBV_QPT_RC};
	struct ibv_qp *a = ibv_create_qp(pd, &init), *b = ibv_create_qp(pd, &init);
	struct ibv_mr *source = ibv_reg_mr(pd, from, SIZE, IBV_ACCESS_LOCAL_WRITE);
	struct ibv_mr *target = ibv_reg_mr(pd, to, SIZE, access);
	if (!a || !b || !source || !target)
		fail("QPs");
	union ibv_gid gid;
	int index = gid_index(context, &gid);
	connect_qp(a, b, gid, index);
	connect_qp(b, a, gid, index);
	struct ibv_sge sge = {.addr = (uintptr_t)from, .length = SIZE, .lkey = source->lkey};
	struct ibv_send_wr wr = {.sg_list = &sge,
				 .num_sge = 1,
				 .opcode = IBV_WR_RDMA_WRITE,
				 .send_flags = IBV_SEND_SIGNALED,
				 .wr.rdma = {.remote_addr = (uintptr_t)to, .rkey = target->rkey}};
	for (int i = 0; i < WRITES; i++) {
		struct ibv_send_wr *bad;
		struct ibv_wc wc;
		double start = now_ns();
		int got;
		if (ibv_post_send(a, &wr, &bad))
			fail("post");
		while (!(got = ibv_poll_cq(cq, 1, &wc)))
			;
		if (got < 0 || wc.status != IBV_WC_SUCCESS)
			fail("write");
		taken[i] = now_ns() - start;
	}
	if (memcmp(from, to, SIZE))
		fail("the data did not arrive");
	printf("verbs_baseline: write 4096 %.0f ns\n", median(taken, WRITES));
	return 0;
}
