/* SPDX-License-Identifier: MIT */
/*
 * verbs.c: the `verbs` provider: NDK on any RDMA device of the host, by rdma-core (DESIGN.md
 * decision 6). This file is its table; the parts are
 *
 *   verbs_library   libibverbs and librdmacm, loaded when an adapter asks for them
 *   verbs_device    a device, its limits and addresses
 *   verbs_thread    device threads, and how work goes to them and back
 *   verbs_memory    PDs, MRs, MWs
 *   verbs_qp, verbs_work, verbs_poll   QPs and SRQs, requests to the device, requests back
 *   verbs_fault     what a device reports by itself, and its end
 *   verbs_connector, verbs_connect, verbs_listen, verbs_event   rdma_cm
 *
 * Completion queues are the core's: arming, order and depth are the same on every provider.
 */
#include "port/linux/verbs_connect.h"

static int create(void *object, enum ndk_type type, const void *parameters)
{
	switch (type) {
	case NDK_TYPE_PD:
		return verbs_pd_create(object);
	case NDK_TYPE_MR:
	case NDK_TYPE_MW:
		return verbs_memory_create(object, type);
	case NDK_TYPE_QP:
		return verbs_qp_create(object, parameters);
	case NDK_TYPE_SRQ:
		return verbs_srq_create(object, parameters);
	case NDK_TYPE_CONNECTOR:
		return verbs_connection_create(object);
	case NDK_TYPE_ENDPOINT:
		return verbs_endpoint_create(object, parameters);
	default:
		return NDK_SUCCESS;
	}
}

static int destroy(void *object, enum ndk_type type)
{
	switch (type) {
	case NDK_TYPE_PD:
		return verbs_pd_destroy(object);
	case NDK_TYPE_MR:
	case NDK_TYPE_MW:
		return verbs_memory_destroy(object, type);
	case NDK_TYPE_QP:
		return verbs_qp_destroy(object);
	case NDK_TYPE_SRQ:
		return verbs_srq_destroy(object);
	case NDK_TYPE_LISTENER:
	case NDK_TYPE_ENDPOINT:
		return verbs_address_destroy(object);
	case NDK_TYPE_CONNECTOR:
		return verbs_connection_destroy(object);
	default:
		return NDK_SUCCESS;
	}
}

const struct ndk_provider verbs_provider = {
	.name = "verbs",
	.private_size = {[NDK_TYPE_PD] = sizeof(struct verbs_pd),
			 [NDK_TYPE_MR] = sizeof(struct verbs_memory),
			 [NDK_TYPE_MW] = sizeof(struct verbs_memory),
			 [NDK_TYPE_QP] = sizeof(struct verbs_qp),
			 [NDK_TYPE_SRQ] = sizeof(struct verbs_srq),
			 [NDK_TYPE_CONNECTOR] = sizeof(struct verbs_connector),
			 [NDK_TYPE_LISTENER] = sizeof(struct verbs_listener),
			 [NDK_TYPE_ENDPOINT] = sizeof(struct verbs_listener)},
	.remote_tokens = true,
	.service = verbs_service,
	.create = create,
	.destroy = destroy,
	.mr_register = verbs_mr_register,
	.mr_deregister = verbs_mr_deregister,
	.mr_initialize = verbs_mr_initialize,
	.data = &verbs_data_operations,
	.connection = &verbs_connection_operations,
};
