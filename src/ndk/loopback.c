/* SPDX-License-Identifier: MIT */
/*
 * loopback.c: the provider inside the machine: RNICs that reach each other, with complete semantics
 * (DESIGN.md decision 6). The reference for others.
 *
 * There is no device: the processor that posts a request carries it out before the posting function
 * returns (loopback_qp.c); regions are the core's own table (region.c), so registering needs
 * nothing here. Connections: loopback_connect.c.
 */
#include "ndk/loopback.h"
#include "ndk/ndk.h"

static int create(void *object, enum ndk_type type, const void *parameters)
{
	switch (type) {
	case NDK_TYPE_QP:
		loopback_qp_initialize(object);
		return NDK_SUCCESS;
	case NDK_TYPE_SRQ:
		loopback_queue_initialize(ndk_private(object));
		return NDK_SUCCESS;
	case NDK_TYPE_ENDPOINT: {
		const struct ndk_endpoint_parameters *endpoint = parameters;
		return loopback_endpoint_create(object, &endpoint->address);
	}
	default:
		return NDK_SUCCESS;
	}
}

static int destroy(void *object, enum ndk_type type)
{
	switch (type) {
	case NDK_TYPE_QP:
		loopback_qp_destroy(object);
		break;
	case NDK_TYPE_SRQ:
		loopback_queue_destroy(object);
		break;
	case NDK_TYPE_CONNECTOR:
		loopback_connector_destroy(object);
		break;
	case NDK_TYPE_LISTENER:
		loopback_listener_destroy(object);
		break;
	case NDK_TYPE_ENDPOINT:
		loopback_endpoint_destroy(object);
		break;
	default:
		break;
	}
	return NDK_SUCCESS;
}

static const struct ndk_data_operations data = {
	.post = loopback_post,
	.receive = loopback_receive,
	.flush = loopback_flush,
	.fail = loopback_fail,
};

const struct ndk_provider ndk_loopback = {
	.name = "loopback",
	.private_size = {[NDK_TYPE_QP] = sizeof(struct loopback_qp),
			 [NDK_TYPE_SRQ] = sizeof(struct loopback_queue),
			 [NDK_TYPE_CONNECTOR] = sizeof(struct loopback_connector),
			 [NDK_TYPE_LISTENER] = sizeof(struct loopback_listener),
			 [NDK_TYPE_ENDPOINT] = sizeof(struct loopback_listener)},
	.create = create,
	.destroy = destroy,
	.data = &data,
	.connection = &loopback_connection,
};
