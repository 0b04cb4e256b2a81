/* SPDX-License-Identifier: MIT */
/*
 * remote.c: events for a running `ketch run` from another process of the same user: `ketch nmi
 * PID[:P]`.
 *
 * A run listens on an abstract socket named by its process id; a request and its answer are one
 * line each. The listener's thread holds no baton and raises the event as any device would.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "cli/cli.h"

static socklen_t address_of(struct sockaddr_un *address, long pid)
{
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	int length =
		snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "ketch-%ld", pid);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static bool same_user(int peer)
{
	struct ucred who;
	socklen_t size = sizeof who;
	return !getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) &&
	       (who.uid == getuid() || who.uid == 0);
}

static const char *serve(char *request)
{
	uint64_t processor;
	request[strcspn(request, "\n")] = 0;
	if (strncmp(request, "nmi ", 4) || !number_parse(request + 4, UINT32_MAX, &processor))
		return "this run does not know the request\n";
	return ketch_nmi_raise((uint32_t)processor) ? "ok\n"
						    : "the machine has no such processor\n";
}

static void *listen_main(void *argument)
{
	int listener = (int)(intptr_t)argument;
	for (;;) {
		char request[64];
		int peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (peer < 0)
			continue;
		struct timeval limit = {.tv_sec = 1};
		setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
		ssize_t n = same_user(peer) ? read(peer, request, sizeof request - 1) : 0;
		if (n > 0) {
			request[n] = 0;
			const char *answer = serve(request);
			if (write(peer, answer, strlen(answer)) < 0)
				errno = 0; /* the asker went away: nothing to tell it */
		}
		close(peer);
	}
	return NULL;
}

bool remote_listen(void)
{
	struct sockaddr_un address;
	sigset_t all, before;
	pthread_t id;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return false;
	socklen_t length = address_of(&address, (long)getpid());
	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16)) {
		close(listener);
		return false;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int error = pthread_create(&id, NULL, listen_main, (void *)(intptr_t)listener);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !error && !pthread_detach(id);
}

int cli_nmi(int argc, char **argv)
{
	char target[64], answer[128];
	uint64_t pid, processor = 0;
	if (argc != 2 || strlen(argv[1]) >= sizeof target)
		return usage_error("which run? ketch nmi PID[:P]");
	strcpy(target, argv[1]);
	char *colon = strchr(target, ':');
	if (colon)
		*colon++ = 0;
	if (!number_parse(target, INT32_MAX, &pid) ||
	    (colon && !number_parse(colon, 1279, &processor)))
		return usage_error("%s is not PID[:P], two numbers", escaped(argv[1]));

	struct sockaddr_un address;
	socklen_t length = address_of(&address, (long)pid);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (server < 0 || connect(server, (struct sockaddr *)&address, length))
		return usage_error("process %llu is no `ketch run` of this user",
				   (unsigned long long)pid);
	int size = snprintf(answer, sizeof answer, "nmi %llu\n", (unsigned long long)processor);
	ssize_t n = write(server, answer, (size_t)size) == size
			    ? read(server, answer, sizeof answer - 1)
			    : -1;
	close(server);
	if (n <= 0)
		return usage_error("process %llu did not answer", (unsigned long long)pid);
	answer[n] = 0;
	if (!strcmp(answer, "ok\n"))
		return EXIT_EXPECTED;
	answer[strcspn(answer, "\n")] = 0;
	return usage_error("process %llu: %s", (unsigned long long)pid, escaped(answer));
}
