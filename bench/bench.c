/* SPDX-License-Identifier: MIT */
/* The harness: a list of results in the order in which they were added. Consecutive ones of the
 * same workload and size are a group, and take turns; its first is the yardstick. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#ifndef BENCH_CFLAGS
#define BENCH_CFLAGS "?"
#endif

enum { MOST = 1024, FEWEST_ROUNDS = 3, MOST_ROUNDS = 1001, ROUND_NS = 2000000 };

typedef struct Result {
	Bench_Case c;
	double samples[MOST_ROUNDS]; /* one a round; pages that are never touched cost nothing */
	double median, min, low, high, spread, ratio; /* low and high: the quartiles */
	const struct Result *yardstick;
} Result;

static Result results[MOST];
static size_t count, done;
static const char *program, *json, *only;
static char conditions[1024]; /* of JSON, a member a line */
static double seconds = 1;    /* about, a group */
static double paused_at, paused;

static _Noreturn void die(const char *why)
{
	fprintf(stderr, "%s: %s\n", program, why);
	exit(2);
}

double bench_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void bench_pause(void) { paused_at = bench_now(); }

void bench_resume(void)
{
	paused += bench_now() - paused_at;
	paused_at = 0;
}

double bench_resident(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (!f || fscanf(f, "%*d %ld", &pages) != 1)
		die("cannot read /proc/self/statm");
	fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* ---- conditions and options ---- */

static void note_conditions(void)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char line[256], cpu[128] = "unknown", date[32];
	time_t now = time(NULL);
	struct utsname u = { 0 };
	double load = 0;

	while (f && fgets(line, sizeof line, f) && sscanf(line, "model name : %127[^\n\"\\]", cpu) != 1)
		;
	if (f)
		fclose(f);
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	uname(&u);
	getloadavg(&load, 1);
	snprintf(conditions, sizeof conditions,
		"\"benchmark\": \"%s\",\n\"date\": \"%s\",\n\"processor\": \"%s\",\n"
		"\"processors\": \"%ld\",\n\"load\": \"%.2f\",\n\"system\": \"%s %s\",\n"
		"\"compiler\": \"%s; %s\",\n\"seconds\": \"%g\",\n",
		program, date, cpu, sysconf(_SC_NPROCESSORS_ONLN), load, u.sysname, u.release, __VERSION__,
		BENCH_CFLAGS, seconds);
}

void bench_start(const char *name, int *argc, char *argv[])
{
	int i, kept = 1;

	program = name;
	for (i = 1; i < *argc; i++)
		if (strncmp(argv[i], "--", 2) != 0)
			argv[kept++] = argv[i];
		else if (strcmp(argv[i], "--json") == 0 && i + 1 < *argc)
			json = argv[++i];
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < *argc)
			only = argv[++i];
		else if (strcmp(argv[i], "--seconds") != 0 || i + 1 == *argc
			|| (seconds = atof(argv[++i])) <= 0)
			die("options: --json FILE, --seconds S, --only TEXT");
	argv[*argc = kept] = NULL;
	note_conditions();
	fputs(conditions, stdout);
}

int bench_wants(const char *workload)
{
	return !only || strstr(workload, only) != NULL;
}

void bench_add(const Bench_Case *c)
{
	if (!bench_wants(c->workload))
		return;
	if (count == MOST)
		die("too many cases");
	results[count++].c = *c;
}

/* ---- measuring ---- */

static double measure_case(const Bench_Case *c)
{
	double start;

	if (c->value)
		return c->value(c->cl);
	paused = paused_at = 0;
	start = bench_now();
	c->run(c->cl, c->n);
	if (paused_at > 0)
		bench_resume();
	return (bench_now() - start - paused) / (double)c->n;
}

static double sample_case(const Bench_Case *c)
{
	double x = 0;
	int fds[2];
	pid_t child;

	if (!c->fresh)
		return measure_case(c);
	fflush(NULL);
	if (pipe(fds) != 0)
		die("no pipe");
	child = fork();
	if (child == 0) {
		x = measure_case(c);
		_exit(write(fds[1], &x, sizeof x) != (ssize_t)sizeof x);
	}
	close(fds[1]);
	if (child < 0 || read(fds[0], &x, sizeof x) != (ssize_t)sizeof x)
		die(c->name); /* the child has said why */
	close(fds[0]);
	waitpid(child, NULL, 0);
	return x;
}

/* Returns the least of three samples, so that an interrupted run does not end the calibration. */
static double least_sample(Bench_Case *c)
{
	double least = sample_case(c), next;
	int i;

	for (i = 1; i < 3; i++)
		if ((next = sample_case(c)) < least)
			least = next;
	return least;
}

/* Also warms up. */
static void calibrate_case(Bench_Case *c)
{
	int given = c->n > 0 || c->fresh || c->value != NULL;
	double ns = 0;

	for (c->n += c->n == 0; !given && ns < ROUND_NS / 4; c->n *= 2)
		ns = least_sample(c) * (double)c->n;
	if (!given)
		c->n = (size_t)((double)(c->n / 2) * ROUND_NS / ns) + 1;
	else if (!c->fresh)
		sample_case(c);
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Returns 0 if y is 0, for instance 0 bytes: JSON has no infinity. */
static double ratio_or_0(double x, double y)
{
	return y > 0 ? x / y : 0;
}

static void summarize_samples(Result *r, size_t rounds)
{
	static double s[MOST_ROUNDS];
	size_t i;

	for (i = 0; i < rounds; i++)
		s[i] = ratio_or_0(r->samples[i], r->yardstick->samples[i]);
	qsort(s, rounds, sizeof *s, ascending);
	r->ratio = s[rounds / 2];
	memcpy(s, r->samples, rounds * sizeof *s);
	qsort(s, rounds, sizeof *s, ascending);
	r->min = s[0];
	r->median = s[rounds / 2];
	r->low = s[rounds / 4];
	r->high = s[rounds * 3 / 4];
	r->spread = ratio_or_0(r->high - r->low, r->median);
}

static void run_group(Result *first, const Result *end)
{
	double start;
	size_t rounds;
	Result *r;

	for (r = first; r < end; r++)
		calibrate_case(&r->c);
	start = bench_now();
	for (rounds = 0; rounds < MOST_ROUNDS; rounds++) {
		if (rounds >= FEWEST_ROUNDS && bench_now() - start > seconds * 1e9)
			break;
		for (r = first; r < end; r++)
			r->samples[rounds] = sample_case(&r->c);
	}
	for (r = first; r < end; r++) {
		r->yardstick = first;
		summarize_samples(r, rounds);
	}
}

/* ---- results ---- */

static void print_group(const Result *first, const Result *end)
{
	const Result *r;

	printf("\n%s", first->c.workload);
	if (first->c.size > 0)
		printf(", %.0f", first->c.size);
	printf("\n  %-32s %12s %12s %7s %8s\n", "", first->c.unit, "least", "spread", "ratio");
	for (r = first; r < end; r++) {
		printf("  %-32s %12.2f %12.2f %6.1f%% %8.2f", r->c.name, r->median, r->min,
			100 * r->spread, r->ratio);
		if (r->c.goal > 0)
			printf("  goal %g: %s", r->c.goal,
				r->yardstick == r ? "not measured, its yardstick is missing"
					: r->ratio <= r->c.goal ? "met" : "missed");
		if (r->c.most > 0)
			printf("  goal %g %s: %s", r->c.most, r->c.unit,
				r->median <= r->c.most ? "met" : "missed");
		putchar('\n');
	}
	fflush(stdout);
}

void bench_run(void)
{
	for (size_t end; done < count; done = end) {
		const Bench_Case *c = &results[done].c;

		for (end = done; end < count && strcmp(results[end].c.workload, c->workload) == 0
				&& !(results[end].c.size < c->size || results[end].c.size > c->size); end++)
			if (!results[end].c.unit)
				results[end].c.unit = "ns";
		run_group(&results[done], &results[end]);
		print_group(&results[done], &results[end]);
	}
}

int bench_end(void)
{
	FILE *f = json ? fopen(json, "w") : NULL;
	const Result *r;

	if (f) {
		fprintf(f, "{\n%s\"results\": [\n", conditions);
		for (r = results; r < &results[done]; r++)
			fprintf(f,
				"{\"workload\": \"%s\", \"size\": %.0f, \"contestant\": \"%s\", \"unit\": \"%s\", "
				"\"median\": %.6g, \"min\": %.6g, \"low\": %.6g, \"high\": %.6g, \"spread\": %.4g, "
				"\"yardstick\": \"%s\", \"ratio\": %.4g, \"goal\": %g, \"most\": %g}%s\n",
				r->c.workload, r->c.size, r->c.name, r->c.unit, r->median, r->min, r->low, r->high,
				r->spread, r->yardstick->c.name, r->ratio, r->c.goal, r->c.most,
				r + 1 < &results[done] ? "," : "");
		fputs("] }\n", f);
	}
	if (json && (!f || fclose(f) != 0))
		die("cannot write the JSON file");
	return 0;
}
