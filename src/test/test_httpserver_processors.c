/* SPDX-License-Identifier: MIT */
/* How many loops a server makes by default: as many as the processors of its affinity, and not
 * more than the quotas of its cgroups. The test replaces the files of /proc and /sys, and the
 * time. */
#include "config.h"

#include <sched.h>

#include "httpclient.h"
#include "server/rep.h"

typedef struct File {
	const char *name, *text;
} File;

static const File *files; /* the files that exist; the last has no name */
static int nallowed, affinity_error;

FILE *__wrap_fopen(const char *name, const char *mode);
FILE *__real_fopen(const char *name, const char *mode);
int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
int __real_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set);
time_t __wrap_time(time_t *t);

FILE *__wrap_fopen(const char *name, const char *mode)
{
	const File *f;

	if (!files)
		return __real_fopen(name, mode);
	for (f = files; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return fmemopen((void *)(uintptr_t)f->text, strlen(f->text), "r");
	errno = ENOENT;
	return NULL;
}

int __wrap_sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set)
{
	int i;

	if (!nallowed)
		return __real_sched_getaffinity(pid, size, set);
	if (affinity_error) {
		errno = affinity_error;
		return -1;
	}
	memset(set, 0, size);
	for (i = 0; i < nallowed; i++)
		CPU_SET_S(2 * i + 1, size, set);
	return 0;
}

time_t __wrap_time(time_t *t)
{
	if (t)
		*t = 0;
	return 0;
}

static int clock_is_zero; /* the clocks stand still at 0 */

int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __real_clock_gettime(clockid_t id, struct timespec *t);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	if (!clock_is_zero)
		return __real_clock_gettime(id, t);
	*t = (struct timespec){ 0 };
	return 0;
}

static int processors_with(const File *given, int allowed)
{
	int n;

	files = given;
	nallowed = allowed;
	n = httpserver__processors();
	files = NULL;
	nallowed = 0;
	return n;
}

#define ME(text) { "/proc/self/cgroup", text }
#define MOUNTS(text) { "/proc/self/mountinfo", text }
#define NO_MORE { NULL, NULL }
#define V2 "30 24 0:27 / /sys/fs/cgroup rw,nosuid shared:9 master:1 - cgroup2 cgroup2 rw,x\n"
#define V1 "33 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n" \
	"34 25 0:29 / /sys/fs/cgroup/cpuset rw shared:16 - cgroup cgroup rw,cpuset\n"
/* The files of the cgroup /a of version 2, with this limit. */
#define OF_A(limit) { ME("0::/a\n"), MOUNTS(V2), { "/sys/fs/cgroup/a/cpu.max", limit }, NO_MORE }

static const struct {
	const char *name;
	int allowed, right;
	File files[6];
} machines[] = {
	{ "no cgroups at all", 6, 6, { NO_MORE } },
	{ "version 2, no limit", 6, 6, OF_A("max 100000\n") },
	{ "version 2, one and a half", 6, 2, OF_A("150000 100000\n") },
	{ "version 2, three exactly", 6, 3, OF_A("300000 100000\n") },
	{ "version 2, a tenth", 6, 1, OF_A("10000 100000\n") },
	{ "version 2, more than there are", 2, 2, OF_A("900000 100000\n") },
	{ "version 2, a limit of the parent", 6, 4, { ME("0::/a.slice/b.service\n"), MOUNTS(V2),
		{ "/sys/fs/cgroup/a.slice/cpu.max", "350000 100000\n" },
		{ "/sys/fs/cgroup/a.slice/b.service/cpu.max", "500000 100000\n" }, NO_MORE } },
	{ "version 2, a container's own root", 6, 2, { ME("0::/\n"), MOUNTS(V2),
		{ "/sys/fs/cgroup/cpu.max", "200000 100000\n" }, NO_MORE } },
	{ "version 2, mounted below its root", 6, 2, { ME("0::/docker/7/worker\n"),
		MOUNTS("30 24 0:27 /docker/7 /cg rw - cgroup2 cgroup2 rw\n"),
		{ "/cg/worker/cpu.max", "max 100000\n" }, { "/cg/cpu.max", "200000 100000\n" },
		{ "/cg/docker/7/worker/cpu.max", "100000 100000\n" }, NO_MORE } },
	{ "version 1", 6, 3, { ME("5:cpuset:/z\n4:cpu,cpuacct:/a\n0::/\n"), MOUNTS(V1),
		{ "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "250000\n" },
		{ "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" }, NO_MORE } },
	{ "version 1, no limit", 6, 6, { ME("4:cpu,cpuacct:/a\n"), MOUNTS(V1),
		{ "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "-1\n" },
		{ "/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n" }, NO_MORE } },
	{ "version 1 of a container that sees the machine's paths", 6, 1, { ME("4:cpu:/docker/7\n"),
		MOUNTS("9 8 0:1 /docker/7 /sys/fs/cgroup/cpu ro - cgroup cpu rw,cpu\n"),
		{ "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n" },
		{ "/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n" }, NO_MORE } },
	{ "nonsense", 6, 6, { ME("0\n\n:::\n0::/a\n"), MOUNTS("\nx\n - cgroup2 \n" V2),
		{ "/sys/fs/cgroup/a/cpu.max", "many\n" }, NO_MORE } },
	{ "a period of 0", 6, 6, OF_A("100000 0\n") }
};
enum { MACHINES = sizeof machines / sizeof machines[0] };

SUITE("HTTPServer, processors");
CASE("processors");

TEST(no_more_loops_than_affinity_and_quota_have_processors)
{
	int i;

	for (i = 0; i < MACHINES; i++) {
		int n = processors_with(machines[i].files, machines[i].allowed);

		ck_assert_msg(n == machines[i].right, "%s: %d processors, not %d", machines[i].name, n,
			machines[i].right);
	}
	ck_assert_int_eq(processors_with(machines[0].files, 1500), 1024);
}

TEST(where_affinity_is_unknown_the_machine_counts)
{
	affinity_error = EINVAL;
	ck_assert_int_eq(processors_with(machines[0].files, 1), sysconf(_SC_NPROCESSORS_ONLN));
	affinity_error = 0;
}

TEST(a_server_makes_so_many_loops)
{
	arena = Arena_new();
	files = machines[3].files;
	nallowed = 6;
	server = HTTPServer_new(arena, &(HTTPServer_Options){ .host = "127.0.0.1", .service = "0" });
	files = NULL;
	nallowed = 0;
	ck_assert_int_eq(server->nloops, 3);
	Arena_dispose(&arena);
}

TEST(loops_share_the_places_out_and_none_has_none)
{
	static const size_t all[] = { 1, 2, 3, 4, 5, 6, 7, 8, 100, 9999 };
	size_t k, sum, i;

	for (k = 0; k < sizeof all / sizeof all[0]; k++) {
		make_server((HTTPServer_Options){ .threads = 4, .connections = all[k] });
		for (sum = i = 0; i < (size_t)server->nloops; i++) {
			ck_assert_uint_ge(server->loops[i].most, 1);
			sum += server->loops[i].most;
		}
		ck_assert_uint_eq(sum, all[k]);
		ck_assert_int_eq(server->nloops, all[k] < 4 ? (int)all[k] : 4);
		Arena_dispose(&arena);
	}
}

/* A monotonic clock may begin at 0 when the machine does. */
TEST(a_pool_lets_in_a_seconds_worth_when_its_clock_begins)
{
	SocketPool_Limits limits = { .rate = 3 };
	SocketPool_T pool;
	int ends[2], i;
	Socket_T s;

	arena = Arena_new();
	clock_is_zero = 1;
	pool = SocketPool_new(arena, 10, 1024);
	SocketPool_set_limits(pool, &limits);
	for (i = 0; i < 4; i++) {
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
		s = Socket_adopt(ends[0]);
		ck_assert_int_eq(SocketPool_add(pool, s) != NULL, i < 3);
		if (i == 3)
			Socket_close(&s);
		close(ends[1]);
	}
	clock_is_zero = 0;
	Arena_dispose(&arena);
}

TEST(a_servers_clock_may_begin_at_zero)
{
	make_server((HTTPServer_Options){ 0 });
	launch_server();
	ck_assert_int_eq(ask_server(GET("/")), 501);
	ck_assert(response_has("\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"));
	end_server();
}
