/* SPDX-License-Identifier: MIT */
/* How many processors this process may use: those of its affinity, and no more than the quotas of
 * its cgroups, rounded up. A container has a quota far more often than an affinity; without it a
 * server on a machine of 64 processors would make 64 loops that share two and are throttled
 * together.
 *
 * The quota of a cgroup holds for those below it, so each from our own up to the mounted root is
 * read. A quota that cannot be read sets no limit. */
#include "config.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/rep.h"

enum { LOOPS_MOST = 1024 };

#if defined __linux__

enum {
	AFFINITY_SETS = 8, /* sets of 1,024 processors; the kernel has at most 8,192 */
	LINE_SIZE = 4096
};

typedef struct Mount {
	int version;           /* version of cgroups, or 0 if the mount limits no processors */
	char root[LINE_SIZE];  /* the cgroup that is mounted at point */
	char point[LINE_SIZE];
} Mount;

static int allowed_processors(void)
{
	cpu_set_t sets[AFFINITY_SETS];
	long n;

	if (sched_getaffinity(0, sizeof sets, sets) == 0)
		return CPU_COUNT_S(sizeof sets, sets);
	n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < INT_MAX ? (int)n : INT_MAX;
}

/* Returns 1 if the list, with commas between and perhaps a newline behind, has "cpu". */
static int lists_cpu(const char *list)
{
	size_t n;

	for (; *list; list += n + (list[n] != '\0')) {
		n = strcspn(list, ",\n");
		if (n == 3 && memcmp(list, "cpu", 3) == 0)
			return 1;
	}
	return 0;
}

/* proc(5): "31 23 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu" */
static void parse_mount(const char *line, Mount *mount)
{
	const char *type = strstr(line, " - ");
	char options[LINE_SIZE];

	mount->version = 0;
	if (!type || sscanf(line, "%*s %*s %*s %4095s %4095s", mount->root, mount->point) != 2)
		return;
	if (strncmp(type, " - cgroup2 ", 11) == 0)
		mount->version = 2;
	else if (sscanf(type, " - cgroup %*s %4095s", options) == 1 && lists_cpu(options))
		mount->version = 1;
}

/* cgroups(7): "0::/path" is ours of version 2, "4:cpu,cpuacct:/path" of version 1. */
static int parse_membership(char *line, int version, char **path)
{
	char *controllers = strchr(line, ':'), *end = controllers ? strchr(controllers + 1, ':') : NULL;

	if (!end)
		return 0;
	*end = '\0';
	*path = end + 1;
	end[1 + strcspn(*path, "\n")] = '\0';
	return version == 2 ? controllers[1] == '\0' : lists_cpu(controllers + 1);
}

/* Sets path to our cgroup below the one that is mounted, without a slash at its end. Returns 1 if
 * there is one. */
static int find_own_group(const Mount *mount, char *path)
{
	size_t root = strcmp(mount->root, "/") == 0 ? 0 : strlen(mount->root);
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[LINE_SIZE], *own = NULL;
	int found = 0;

	while (f && !found && fgets(line, sizeof line, f))
		found = parse_membership(line, mount->version, &own);
	if (f)
		fclose(f);
	if (!found)
		return 0;
	if (strncmp(own, mount->root, root) == 0 && (own[root] == '/' || !own[root]))
		own += root;
	strcpy(path, strcmp(own, "/") == 0 ? "" : own);
	return 1;
}

/* Returns the number in the file of a cgroup, or -1. In "150000 100000" the second number goes to
 * *second, if that is not NULL. */
static long long read_number(const Mount *mount, const char *group, const char *name,
	long long *second)
{
	char path[2 * LINE_SIZE + 32];
	long long first = -1;
	FILE *f;

	snprintf(path, sizeof path, "%s%s/%s", mount->point, group, name);
	f = fopen(path, "re");
	if (!f)
		return -1;
	if (fscanf(f, "%lld", &first) != 1 || (second && fscanf(f, "%lld", second) != 1)) /* "max" */
		first = -1;
	fclose(f);
	return first;
}

static int group_quota(const Mount *mount, const char *group)
{
	long long quota, period = 0, n;

	if (mount->version == 2)
		quota = read_number(mount, group, "cpu.max", &period);
	else {
		quota = read_number(mount, group, "cpu.cfs_quota_us", NULL);
		period = read_number(mount, group, "cpu.cfs_period_us", NULL);
	}
	if (quota <= 0 || period <= 0)
		return INT_MAX;
	n = quota / period + (quota % period != 0);
	return n < INT_MAX ? (int)n : INT_MAX;
}

static int least_of(int a, int b)
{
	return a < b ? a : b;
}

static int mount_quota(const Mount *mount)
{
	char group[LINE_SIZE], *slash;
	int most;

	if (!mount->version || !find_own_group(mount, group))
		return INT_MAX;
	most = group_quota(mount, group);
	while ((slash = strrchr(group, '/')) != NULL) {
		*slash = '\0';
		most = least_of(most, group_quota(mount, group));
	}
	return most;
}

static int cgroup_quota(void)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[LINE_SIZE];
	int most = INT_MAX;
	Mount mount;

	while (f && fgets(line, sizeof line, f)) {
		parse_mount(line, &mount);
		most = least_of(most, mount_quota(&mount));
	}
	if (f)
		fclose(f);
	return most;
}

int httpserver__processors(void)
{
	int before, n;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before); /* it would leave the files open */
	n = least_of(least_of(allowed_processors(), cgroup_quota()), LOOPS_MOST);
	pthread_setcancelstate(before, NULL);
	return n < 1 ? 1 : n;
}

#else

int httpserver__processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > LOOPS_MOST ? LOOPS_MOST : (int)n;
}

#endif
