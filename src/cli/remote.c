/* SPDX-License-Identifier: MIT */
/*
 * remote.c: events for a running `ketch run` from another process of the same user: `ketch nmi
 * PID[:P]`, `ketch add PID[xN]`.
 *
 * A run listens on an abstract socket named by its process id; a request and its answer are one
 * line each. The listener's thread holds no baton and raises the event as any device would; an
 * addition, which drivers can make long, has a thread of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
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

/* ---- In the run ---- */

static void answer(int peer, const char *format, ...)
{
	char text[128];
	va_list arguments;
	va_start(arguments, format);
	int size = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	if (write(peer, text, (size_t)size) < 0)
		errno = 0; /* the asker went away: nothing to tell it */
}

/* An addition lasts as long as drivers' callbacks do: on a thread of its own. */
static void *add_main(void *argument)
{
	int peer = (int)(intptr_t)argument;
	struct ketch_added added;
	switch (ketch_processor_add_aside(KETCH_ADD, &added)) {
	case KETCH_OK:
		answer(peer, "ok\n");
		break;
	case KETCH_REFUSED:
		if (added.vetoed)
			answer(peer, "a driver refused processor %u with 0x%08x %s\n",
			       added.processor, added.status, status_name(added.status));
		else
			answer(peer, "the machine cannot have one more processor\n");
		break;
	default:
		answer(peer, "the machine has stopped\n");
	}
	close(peer);
	return NULL;
}

static bool start_thread(void *(*main)(void *), int argument)
{
	sigset_t all, before;
	pthread_t id;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	int error = pthread_create(&id, NULL, main, (void *)(intptr_t)argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return !error && !pthread_detach(id);
}

/* Answers and closes, now or later. */
static void serve(int peer, char *request)
{
	uint64_t processor;
	request[strcspn(request, "\n")] = 0;
	if (!strcmp(request, "add")) {
		if (start_thread(add_main, peer))
			return;
		answer(peer, "the host has no more threads\n");
	} else if (!strncmp(request, "nmi ", 4) &&
		   number_parse(request + 4, UINT32_MAX, &processor)) {
		answer(peer, ketch_nmi_raise((uint32_t)processor)
				     ? "ok\n"
				     : "the machine has no such processor\n");
	} else {
		answer(peer, "this run does not know the request\n");
	}
	close(peer);
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
			serve(peer, request);
		} else {
			close(peer);
		}
	}
	return NULL;
}

bool remote_listen(void)
{
	struct sockaddr_un address;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0)
		return false;
	socklen_t length = address_of(&address, (long)getpid());
	if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 16)) {
		close(listener);
		return false;
	}
	return start_thread(listen_main, listener);
}

/* ---- Outside ---- */

/* Ask the run for one event; says what is wrong. */
static int ask(uint64_t pid, const char *request, bool *refused)
{
	char text[128];
	struct sockaddr_un address;
	socklen_t length = address_of(&address, (long)pid);
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*refused = false;
	if (server < 0 || connect(server, (struct sockaddr *)&address, length)) {
		if (server >= 0)
			close(server);
		return usage_error("process %llu is no `ketch run` of this user",
				   (unsigned long long)pid);
	}
	ssize_t size = (ssize_t)strlen(request);
	ssize_t n = write(server, request, (size_t)size) == size
			    ? read(server, text, sizeof text - 1)
			    : -1;
	close(server);
	if (n <= 0)
		return usage_error("process %llu did not answer", (unsigned long long)pid);
	text[n] = 0;
	if (!strcmp(text, "ok\n"))
		return EXIT_EXPECTED;
	text[strcspn(text, "\n")] = 0;
	*refused = !strncmp(text, "a driver", 8);
	return usage_error("process %llu: %s", (unsigned long long)pid, escaped(text));
}

/* PID and a number behind `mark`, which may be missing. */
static bool parse_target(const char *text, char mark, uint64_t *pid, uint64_t limit,
			 uint64_t *number)
{
	char target[64];
	if (strlen(text) >= sizeof target)
		return false;
	strcpy(target, text);
	char *behind = strchr(target, mark);
	if (behind)
		*behind++ = 0;
	return number_parse(target, INT32_MAX, pid) &&
	       (!behind || number_parse(behind, limit, number));
}

int cli_nmi(int argc, char **argv)
{
	char request[64];
	uint64_t pid, processor = 0;
	bool refused;
	if (argc != 2)
		return usage_error("which run? ketch nmi PID[:P]");
	if (!parse_target(argv[1], ':', &pid, 1279, &processor))
		return usage_error("%s is not PID[:P], two numbers", escaped(argv[1]));
	snprintf(request, sizeof request, "nmi %llu\n", (unsigned long long)processor);
	return ask(pid, request, &refused);
}

int cli_add(int argc, char **argv)
{
	uint64_t pid, count = 1;
	bool refused;
	if (argc != 2)
		return usage_error("which run? ketch add PID[xN]");
	if (!parse_target(argv[1], 'x', &pid, 1280, &count) || !count)
		return usage_error("%s is not PID[xN], two numbers", escaped(argv[1]));
	while (count--) {
		int status = ask(pid, "add\n", &refused);
		if (status != EXIT_EXPECTED)
			return refused ? EXIT_REFUSED : status;
	}
	return EXIT_EXPECTED;
}
