#!/bin/sh
# SPDX-License-Identifier: MIT
# Exceptions and the modules of a program: an exception outlives the plugin that raised it, a
# backtrace names module and offset so that addr2line finds the line, and what a program printed is
# not lost when an uncaught exception ends it.
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
status=0
library=${top_builddir:-.}/.libs
[ -f "$library/libcore.so" ] || { echo "no shared library here"; exit 77; }
ulimit -c 0

compile() { # output, source, flags
	output=$1 source=$2
	shift 2
	# shellcheck disable=SC2086
	${CC:-cc} ${TEST_CFLAGS:-} -g -fexceptions -I"$abs_top_srcdir/include" "$@" "$dir/$source" \
		-o "$dir/$output" \
		-L"$library" -Wl,-rpath,"$library" ${CORE_LDFLAGS:-} -lcore -pthread || exit 1
}

cat >"$dir/plugin.c" <<'END'
#include <string.h>
#include <core/core.h>
extern const Except_T Host_Failed;
EXCEPT_DEFINE(Plugin_Failed, &Host_Failed, "the plugin failed");
void plugin_run(const char *how);
static void fail(const char *how)
{
	if (strcmp(how, "message") == 0)
		RAISE_MSG(Host_Failed, "the plugin was asked for a %s", how);
	if (strcmp(how, "own") == 0)
		RAISE(Plugin_Failed);
	RAISE(Host_Failed);
}
void plugin_run(const char *how)
{
	AUTO(Arena_T, arena, Arena_dispose) = Arena_new();
	fail(how);
}
END
cat >"$dir/host.c" <<'END'
#include <dlfcn.h>
#include <string.h>
#include <core/core.h>
extern const Except_T Host_Failed;
EXCEPT_DEFINE(Host_Failed, NULL, "the host failed");
EXCEPT_DEFINE(Other_Failed, NULL, "something else failed");
typedef void Run(const char *);
static const char *path;
static void *load(void)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!module)
		RAISE_MSG(Other_Failed, "%s", dlerror());
	return module;
}
static Run *run_of(void *module)
{
	Run *run;

	*(void **)&run = dlsym(module, "plugin_run");
	return run;
}
static void unload(void **module) { dlclose(*module); }
static void by_auto(const char *how)
{
	AUTO(void *, module, unload) = load();
	run_of(module)(how);
}
static void by_finally(const char *how)
{
	void *module = load();

	PROTECT(module);
	TRY {
		run_of(module)(how);
	} FINALLY {
		dlclose(module);
	} END_TRY;
}
/* what the plugin raised is the cause of what passes when it is unloaded */
static void by_cause(const char *how)
{
	AUTO(void *, module, unload) = load();
	TRY {
		run_of(module)(how);
	} ELSE {
		RAISE_MSG(Host_Failed, "no plugin, as %s", Except_message());
	} END_TRY;
}
/* the clean-up that unloads it raises, too */
static void unload_and_raise(void **module) { dlclose(*module); RAISE_MSG(Host_Failed, "unloaded"); }
static void by_replacement(const char *how)
{
	AUTO(void *, module, unload_and_raise) = load();
	run_of(module)(how);
}
int main(int argc, char **argv)
{
	static const struct { const char *name; Run *run; } ways[] = {
		{ "auto", by_auto }, { "finally", by_finally }, { "cause", by_cause }, { "replacement", by_replacement } };
	volatile size_t i;

	path = argv[1];
	for (i = 0; argc == 4 && i < 4; i++)
		if (strcmp(argv[2], ways[i].name) == 0)
			TRY {
				ways[i].run(argv[3]);
			} EXCEPT(Other_Failed) {
				puts("wrong clause");
			} EXCEPT(Host_Failed) {
				if (dlopen(path, RTLD_NOW | RTLD_NOLOAD))
					puts("the plugin is still there");
				printf("%s in %s at %s\n", Except_message(), Except_function(), strrchr(Except_file(), '/') + 1);
				Except_report(stdout);
			} END_TRY;
	return 0;
}
END
compile plugin.so plugin.c -shared -fPIC
compile host host.c -rdynamic -ldl

passes() { # how the plugin is unloaded, how it raises, what is printed
	"$dir/host" "$dir/plugin.so" "$1" "$2" >"$dir/out" 2>&1 ||
		{ echo "$1 $2: ended with $?"; status=1; }
	sed -i "s|$dir/||" "$dir/out"
	[ "$(cat "$dir/out")" = "$3" ] ||
		{ echo "$1 $2 printed:"; cat "$dir/out"; echo "and not:"; echo "$3"; status=1; }
}
asked='the plugin was asked for a message'
for way in auto finally; do
	passes $way message "$asked in fail at plugin.c
the host failed: $asked
    raised in fail() at plugin.c:9"
	passes $way own "the plugin failed in fail at plugin.c
the plugin failed
    raised in fail() at plugin.c:11"
	passes $way plain "the host failed in fail at plugin.c
the host failed
    raised in fail() at plugin.c:12"
done
passes cause own "no plugin, as the plugin failed in by_cause at host.c
the host failed: no plugin, as the plugin failed
    raised in by_cause() at host.c:48
  caused by the plugin failed
    raised in fail() at plugin.c:11"
passes replacement message "unloaded in unload_and_raise at host.c
the host failed: unloaded
    raised in unload_and_raise() at host.c:52
  caused by the host failed: $asked
    raised in fail() at plugin.c:9"

# ---- backtraces

cat >"$dir/deep.c" <<'END'
#include <core/core.h>
EXCEPT_DEFINE(Failed, NULL, "failed");
static __attribute__((noinline)) void deepest(void)
{
	RAISE(Failed); /* the line */
}
int main(void)
{
	Except_set_backtrace(4);
	TRY {
		deepest();
	} ELSE {
		Except_report(stdout);
	} END_TRY;
	return 0;
}
END
for way in '-fPIE -pie' '-fno-pie -no-pie'; do
	# shellcheck disable=SC2086
	compile deep deep.c -O1 $way
	(cd "$dir" && ./deep) >"$dir/out"
	offset=$(sed -n 's|^    #0 .* \./deep+\(0x[0-9a-f]*\)$|\1|p' "$dir/out")
	if [ -z "$offset" ]; then
		echo "$way: the first frame is not named by module and offset:"; cat "$dir/out"; status=1
	elif command -v addr2line >/dev/null 2>&1; then
		found=$(addr2line -f -e "$dir/deep" "$offset" | tr '\n' ' ')
		case $found in
		'deepest '*deep.c:5*) ;;
		*) echo "$way: addr2line finds $found at $offset"; status=1 ;;
		esac
	fi
done

# ---- what was printed before the end

cat >"$dir/ends.c" <<'END'
#include <core/core.h>
EXCEPT_DEFINE(Failed, NULL, "failed");
int main(void)
{
	printf("what was printed\n");
	RAISE(Failed);
}
END
compile ends ends.c
("$dir/ends") 2>&1 | cat >"$dir/out"
[ "$(sed 2q "$dir/out")" = "what was printed
uncaught exception: failed" ] || { echo "an uncaught exception lost or reordered:"; cat "$dir/out"; status=1; }
# a pipe without a reader does not keep the report from being printed
("$dir/ends") 2>"$dir/out" | :
sleep 0.1
grep -q 'uncaught exception: failed' "$dir/out" ||
	{ echo "no report where stdout is a broken pipe"; status=1; }

# ---- CORE_EXCEPT_DEBUG

cat >"$dir/skips.c" <<'END'
#include <pthread.h>
#include <core/core.h>
EXCEPT_DEFINE(Failed, NULL, "failed");
static void *skip(void *cl)
{
	TRY {
		return cl;
	} FINALLY {
		puts("never");
	} END_TRY;
	return NULL;
}
int main(void)
{
	pthread_t t;
	int i;

	skip(NULL);
	pthread_create(&t, NULL, skip, NULL); /* in every thread */
	pthread_join(t, NULL);
	for (i = 0; i < 2; i++)
		TRY {
			if (i == 0)
				RAISE(Failed);
		} EXCEPT(Failed) {
			Except_report(stdout);
		} FINALLY {
			puts("finally");
		} END_TRY;
	return 0;
}
END
compile skips skips.c
debugged() { # value, reports of skipped FINALLYs, frames of a backtrace
	CORE_EXCEPT_DEBUG=$1 "$dir/skips" >"$dir/out" 2>"$dir/err" ||
		{ echo "CORE_EXCEPT_DEBUG=$1: ended with $?"; status=1; }
	[ "$(grep -c 'skips.c:8: this FINALLY was skipped' "$dir/err")" = "$2" ] ||
		{ echo "CORE_EXCEPT_DEBUG=$1 said of skipped FINALLYs:"; cat "$dir/err"; status=1; }
	[ "$(grep -c '    #0' "$dir/out")" = "$3" ] ||
		{ echo "CORE_EXCEPT_DEBUG=$1: backtraces:"; cat "$dir/out"; status=1; }
	[ "$(grep -c '^finally' "$dir/out")" = 2 ] && ! grep -q never "$dir/out" ||
		{ echo "CORE_EXCEPT_DEBUG=$1 printed:"; cat "$dir/out"; status=1; }
}
grep -q '^#define CORE_DEBUG 1' "${top_builddir:-.}/config.h" && usual=2 || usual=0
debugged '' $usual 0
debugged skipped 2 0
debugged backtrace $usual 1
debugged skipped,backtrace 2 1
debugged nonsense $usual 0
grep -q 'CORE_EXCEPT_DEBUG takes skipped and backtrace, not "nonsense"' "$dir/err" ||
	{ echo "nonsense was not refused"; status=1; }
exit $status
