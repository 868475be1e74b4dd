/* SPDX-License-Identifier: MIT */
/* soak [seconds [connections]]: runs the request server under clients of every kind and checks
 * that it stays as it was. Default: 8 s and 1,000 connections (200 under sanitizers), or
 * SOAK_SECONDS and SOAK_CONNECTIONS.
 *
 * It starts examples/request-server, under SERVER_WRAPPER if that is set. One process has all
 * the connections. A second one has a tenth as many more, and is stopped, killed and replaced
 * every few seconds. Each reply is checked to its last byte. In the end, when all are answered,
 * it sends SIGTERM: the server must close its idle connections, exit with 0 and have no live
 * arena.
 *
 * The server's memory must stay flat. After a settling time (two minutes, or half of a short
 * run) it may grow by GROWTH_KIB and one per cent. This is not checked under a wrapper or with
 * sanitizers, which keep freed memory. A server that gets less of the processors has more requests
 * in progress: other work that begins during the run moves its memory, too (by 6 to 8 MiB with
 * 10,000 connections on two processors). */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "soak.h"

#if defined __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define SANITIZED 1
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

enum {
	SETTLING = 120, GROWTH_KIB = 4096,
	STARTUP_MS = 60000, ANSWERS_MS = 90000, STOP_MS = 60000,
	LIFE = 3000             /* how long a client lives at most before it is killed, in ms */
};

Shared *shared;
static int seconds, connections, port, failures;
static pid_t server, steady, victim;
static FILE *said, *complained;
static long rss_settled, rss_last, rss_most;
static int killed;

static void report_failure(const char *what)
{
	printf("soak: FAILED: %s\n", what);
	failures++;
}

static void sleep_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&t, NULL);
}

static int read_option(const char *argument, const char *variable, int otherwise)
{
	const char *text = argument ? argument : getenv(variable);

	return text && atoi(text) > 0 ? atoi(text) : otherwise;
}

static int is_bare(void)
{
	const char *wrapper = getenv("SERVER_WRAPPER");

	return !wrapper || !*wrapper;
}

/* ---- the server ---- */

static void become_server(void)
{
	char command[200];

	/* each loop has its share of the limit, and the kernel may deal connections out unevenly */
	snprintf(command, sizeof command, "exec $SERVER_WRAPPER ./examples/request-server 0 %d",
		2 * connections + 100);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(fileno(said), STDOUT_FILENO);
	dup2(fileno(complained), STDERR_FILENO);
	execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Returns all that the server has printed. */
static const char *text_of(FILE *file)
{
	static char text[8192];
	ssize_t n = pread(fileno(file), text, sizeof text - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static int start_server(void)
{
	int64_t end = clock_ms() + STARTUP_MS;
	const char *at;

	said = tmpfile();
	complained = tmpfile();
	if (!said || !complained || (server = fork()) < 0)
		return 0;
	if (server == 0)
		become_server();
	while (clock_ms() < end && waitpid(server, NULL, WNOHANG) == 0) {
		at = strstr(text_of(said), "listening on port ");
		if (at && strchr(at, '\n')) {
			port = atoi(at + 18);
			return port > 0;
		}
		sleep_ms(20);
	}
	fprintf(stderr, "soak: the server did not start: %s", text_of(complained));
	return 0;
}

static long rss_kib(void)
{
	char path[40], line[200];
	long kib = 0;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)server);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib;
}

/* Waits at most ms. Returns 1 if the process ended, and sets *status. */
static int ends_within(pid_t process, int ms, int *status)
{
	int64_t end = clock_ms() + ms;

	while (waitpid(process, status, WNOHANG) == 0) {
		if (clock_ms() > end)
			return 0;
		sleep_ms(10);
	}
	return 1;
}

/* ---- the run ---- */

static pid_t start_clients(int n, int ramp_ms, unsigned seed, int doomed)
{
	pid_t process = fork();

	if (process != 0)
		return process;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	run_clients(port, n, ramp_ms, seed, doomed);
	_exit(0);
}

/* Stops the second process, kills it later, and starts another. */
static void kill_victim(int64_t now)
{
	static int64_t next, stopped;

	if (!stopped && now >= next) {
		kill(victim, SIGSTOP);
		stopped = now;
		next = now + rand() % (LIFE / 2);
	} else if (stopped && now >= next) {
		kill(victim, SIGKILL);
		waitpid(victim, NULL, 0);
		killed += connections / 10;
		victim = start_clients(connections / 10, 500, (unsigned)rand(), 1);
		stopped = 0;
		next = now + 500 + rand() % LIFE;
	}
}

static void print_progress(int second)
{
	printf("soak: %d of %d s: %lld connections of those that stay, %llu requests, %llu right, "
		"%llu wrong, RSS %.1f MiB\n", second, seconds,
		(long long)GET(now_open), (unsigned long long)GET(requests), (unsigned long long)GET(right),
		(unsigned long long)GET(wrong), (double)rss_last / 1024);
	fflush(stdout);
}

static void sample_memory(int second)
{
	int settling = seconds >= 5 * SETTLING ? SETTLING : seconds / 2;

	rss_last = rss_kib();
	if (second <= settling && rss_last > rss_settled)
		rss_settled = rss_last;
	if (rss_last > rss_most)
		rss_most = rss_last;
	if (second > 0 && second % (seconds > 60 ? 30 : 5) == 0)
		print_progress(second);
}

static void watch_server(void)
{
	int64_t start = clock_ms(), now = start;
	int second = -1, status;

	for (; now < start + (int64_t)seconds * 1000; now = clock_ms()) {
		if ((now - start) / 1000 > second)
			sample_memory(second = (int)((now - start) / 1000));
		kill_victim(now);
		if (waitpid(server, &status, WNOHANG) != 0) {
			printf("soak: the server ended with %#x: %s\n", (unsigned)status, text_of(complained));
			exit(1);
		}
		if (waitpid(steady, &status, WNOHANG) != 0) {
			report_failure("the clients ended");
			return;
		}
		sleep_ms(20);
	}
}

static void await_answers(void)
{
	int64_t end = clock_ms() + ANSWERS_MS;

	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	__atomic_store_n(&shared->ending, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&shared->settled, __ATOMIC_ACQUIRE) && clock_ms() < end)
		sleep_ms(20);
	if (!GET(settled))
		report_failure("some were not answered");
}

static void stop_server(void)
{
	int status = 0;

	kill(server, SIGTERM);
	if (!ends_within(server, STOP_MS, &status)) {
		report_failure("the server did not stop");
		kill(server, SIGKILL);
		waitpid(server, &status, 0);
	} else if (status != 0) {
		printf("soak: FAILED: the server ended with %#x\n", (unsigned)status);
		failures++;
	}
	if (!strstr(text_of(said), "live arenas 0\n"))
		report_failure("arenas stayed alive");
	printf("soak: %s", strchr(text_of(said), '\n') + 1);
	if (*text_of(complained)) {
		report_failure("the server complained");
		printf("%s", text_of(complained));
	}
	if (!ends_within(steady, STOP_MS, &status)) {
		report_failure("connections stayed open");
		kill(steady, SIGKILL);
		waitpid(steady, &status, 0);
	}
}

static void judge_memory(void)
{
	long bound = rss_settled / 100 + GROWTH_KIB;

	printf("soak: RSS %.1f MiB at most while it settled, %.1f at the end, %.1f at most; "
		"may grow by %.1f\n", (double)rss_settled / 1024,
		(double)rss_last / 1024, (double)rss_most / 1024, (double)bound / 1024);
	if (rss_most - rss_settled > bound && is_bare() && !SANITIZED)
		report_failure("the server's memory grows");
}

static void print_report(void)
{
	judge_memory();
	if (GET(wrong) > 0)
		report_failure("replies were wrong");
	if (GET(right) == 0)
		report_failure("nothing was answered");
	printf("soak: %llu requests, %llu right (%.1f MB), %llu wrong; %llu refused as malformed, "
		"%llu told that they take too long, %llu idle ones closed, %llu that were late\n",
		(unsigned long long)GET(requests), (unsigned long long)GET(right), (double)GET(bytes) / 1e6,
		(unsigned long long)GET(wrong),
		(unsigned long long)GET(refused), (unsigned long long)GET(timed_out),
		(unsigned long long)GET(ended), (unsigned long long)GET(late));
	printf("soak: %d s, %lld connections at once and %d more of clients to be killed, %llu in all, "
		"%llu broken off, %d of them killed; %d failures\n", seconds,
		(long long)GET(most_open), connections / 10, (unsigned long long)GET(opened),
		(unsigned long long)GET(reset), killed, failures);
}

int main(int argc, char *argv[])
{
	struct rlimit limit;

	seconds = read_option(argc > 1 ? argv[1] : NULL, "SOAK_SECONDS", 8);
	connections = read_option(argc > 2 ? argv[2] : NULL, "SOAK_CONNECTIONS",
		SANITIZED ? 200 : 1000);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < (rlim_t)connections + 100) {
		printf("soak: %d connections need as many descriptors, of which there are %llu\n",
			connections, (unsigned long long)limit.rlim_max);
		return 77;
	}
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || !start_server())
		return 1;
	steady = start_clients(connections, seconds * 1000 / 5 < 15000 ? seconds * 1000 / 5 : 15000, 1,
		0);
	victim = start_clients(connections / 10, 500, 2, 1);
	watch_server();
	await_answers();
	stop_server();
	print_report();
	return failures != 0;
}
