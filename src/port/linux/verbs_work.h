/* SPDX-License-Identifier: MIT */
/* verbs_work.h: what verbs_work.c (to the device) and verbs_poll.c (back) share. Data thread,
 * unless it says otherwise. */
#pragma once

#include "port/linux/verbs_internal.h"

bool verbs_nodes_start(void);
void verbs_node_post(struct verbs_job *job);
/* To the device; or it is done at once. */
void verbs_node_begin(struct verbs_node *node);
bool verbs_node_must_wait(const struct verbs_node *node);
/* There may be room for one more receive. */
void verbs_srq_refill(struct verbs_srq *srq);
/* In verbs_service. */
void verbs_node_done(struct verbs_job *job);
void verbs_node_free(struct verbs_node *node);
/* Now and then: QPs of soft-RoCE that a peer broke. */
void verbs_qps_look(void);
/* It failed for a reason that breaks the QP, unless that was flushed. */
void verbs_node_failed(struct verbs_node *node);

struct verbs_queue *verbs_queue_of(struct verbs_node *node);
void verbs_queue_add(struct verbs_queue *queue, struct verbs_node *node);
/* Finish those at the front that are done. */
void verbs_queue_retire(struct verbs_queue *queue);
