/* SPDX-License-Identifier: MIT */
/*
 * verbs_connector.c: connectors, made and gone. What stands behind one lives until the connector
 * and all jobs and events that know it are through with it, and then its memory is used again.
 *
 * Contexts: create and destroy on a baton; verbs_connection_put in verbs_service, too. No locks.
 */
#include <string.h>
#include "port/linux/verbs_connect.h"

#define CONNECTIONS 65536u

static struct verbs_pool connections;

bool verbs_connections_start(struct verbs_device *device)
{
	if (!connections.base &&
	    !verbs_pool_create(&connections, sizeof(struct verbs_connection), CONNECTIONS))
		return false;
	return verbs_events_start(device);
}

struct verbs_connection *verbs_connection_new(struct verbs_device *device)
{
	struct verbs_connection *c = verbs_pool_get(&connections);
	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	c->references = 1;
	c->device = device;
	return c;
}

void verbs_connection_put(struct verbs_connection *connection)
{
	if (atomic_fetch_sub(&connection->references, 1) == 1)
		verbs_pool_put(&connections, connection);
}

int verbs_connection_create(void *object)
{
	struct verbs_connector *connector = ndk_private(object);
	connector->connection = verbs_connection_new(verbs_device_of(object));
	if (!connector->connection)
		return NDK_INSUFFICIENT_RESOURCES;
	connector->connection->object = object;
	return NDK_SUCCESS;
}

static void never_run(struct verbs_job *job)
{
	verbs_id_close(&CONNECTION(job, end)->id);
	verbs_finish(job, NDK_SUCCESS);
}

static void never_done(struct verbs_job *job)
{
	struct verbs_connection *c = CONNECTION(job, end);
	ndk_destroyed(c->object);
	verbs_connection_put(c);
}

int verbs_connection_destroy(void *object)
{
	struct verbs_connection *c = verbs_connection_of(object);
	int status = NDK_SUCCESS;
	if (!c)
		return status;
	/* One that the consumer never had was rejected, not aborted: it still has its id. */
	if (!(atomic_fetch_or(&c->flags, CONNECTION_CLOSED) & CONNECTION_CLOSED)) {
		atomic_fetch_add(&c->references, 1);
		c->end.run = never_run;
		c->end.done = never_done;
		verbs_submit(&verbs_control, &c->end);
		status = NDK_PENDING;
	}
	verbs_connection_put(c);
	return status;
}
