/* SPDX-License-Identifier: MIT */
/*
 * verbs_library.h: libibverbs and librdmacm, loaded when an adapter asks for them; see
 * verbs_library.c. Their functions are called on device threads only, as verbs.ibv_alloc_pd(...).
 */
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>
#include <stdbool.h>
#include <stddef.h>

/* Macros of the headers that would call the libraries directly. */
#undef ibv_reg_mr
#undef ibv_reg_mr_iova
#undef ibv_query_port

#define VERBS_IBV_FUNCTIONS(X)                                                                     \
	X(ibv_get_device_list)                                                                     \
	X(ibv_free_device_list)                                                                    \
	X(ibv_get_device_name)                                                                     \
	X(ibv_open_device)                                                                         \
	X(ibv_close_device)                                                                        \
	X(ibv_query_device)                                                                        \
	X(ibv_query_port)                                                                          \
	X(ibv_query_gid)                                                                           \
	X(ibv_get_async_event)                                                                     \
	X(ibv_ack_async_event)                                                                     \
	X(ibv_alloc_pd)                                                                            \
	X(ibv_dealloc_pd)                                                                          \
	X(ibv_reg_mr)                                                                              \
	X(ibv_reg_mr_iova)                                                                         \
	X(ibv_dereg_mr)                                                                            \
	X(ibv_create_comp_channel)                                                                 \
	X(ibv_create_cq)                                                                           \
	X(ibv_resize_cq)                                                                           \
	X(ibv_destroy_cq)                                                                          \
	X(ibv_get_cq_event)                                                                        \
	X(ibv_ack_cq_events)                                                                       \
	X(ibv_create_srq)                                                                          \
	X(ibv_destroy_srq)                                                                         \
	X(ibv_create_qp)                                                                           \
	X(ibv_query_qp)                                                                            \
	X(ibv_modify_qp)                                                                           \
	X(ibv_destroy_qp)

#define VERBS_RDMA_FUNCTIONS(X)                                                                    \
	X(rdma_create_event_channel)                                                               \
	X(rdma_set_option)                                                                         \
	X(rdma_create_id)                                                                          \
	X(rdma_destroy_id)                                                                         \
	X(rdma_bind_addr)                                                                          \
	X(rdma_resolve_addr)                                                                       \
	X(rdma_resolve_route)                                                                      \
	X(rdma_init_qp_attr)                                                                       \
	X(rdma_connect)                                                                            \
	X(rdma_establish)                                                                          \
	X(rdma_listen)                                                                             \
	X(rdma_accept)                                                                             \
	X(rdma_reject)                                                                             \
	X(rdma_disconnect)                                                                         \
	X(rdma_get_cm_event)                                                                       \
	X(rdma_ack_cm_event)

struct verbs_library {
#define VERBS_MEMBER(name) __typeof__(&name) name;
	VERBS_IBV_FUNCTIONS(VERBS_MEMBER)
	VERBS_RDMA_FUNCTIONS(VERBS_MEMBER)
#undef VERBS_MEMBER
};

extern struct verbs_library verbs;

/* Load both, once. False: *why names what is missing and how to get it. Host threads. */
bool verbs_library_load(char *why, size_t size);
