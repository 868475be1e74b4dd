#!/bin/sh
# SPDX-License-Identifier: MIT
# An exception is the same in every shared object: position-independent or not, bound -Bsymbolic,
# opened with dlopen and RTLD_LOCAL; one that a library defines, and one of libcore's own.
library=${top_builddir:-.}/.libs
[ -f "$library/libcore.so" ] || { echo "no shared library here"; exit 77; }
include=$abs_top_srcdir/include
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
LD_LIBRARY_PATH=$library:$work${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LD_LIBRARY_PATH
ASAN_OPTIONS=detect_odr_violation=0:${ASAN_OPTIONS:-} # a copied exception is just what is tested
export ASAN_OPTIONS
status=0

cat >plugin.c <<'END'
#include <core/core.h>
extern const Except_T Plugin_Failed;
EXCEPT_DEFINE(Plugin_Failed, &Arena_Failed, "plugin failed");
void plugin_raise(int own);
int plugin_catch(void (*f)(void));
void plugin_raise(int own) { if (own) RAISE(Plugin_Failed); RAISE(Arena_Failed); }
int plugin_catch(void (*f)(void)) { TRY { f(); } EXCEPT(Plugin_Failed) { RETURN(1); } EXCEPT(Arena_Failed) { RETURN(2); } END_TRY; return 0; }
END
cat >main.c <<'END'
#include <dlfcn.h>
#include <core/core.h>
extern const Except_T Plugin_Failed;
void plugin_raise(int own);
int plugin_catch(void (*f)(void));
static void raise_theirs(void) { RAISE(Plugin_Failed); }
static void raise_arena(void) { RAISE(Arena_Failed); }
static int catch_own(void (*raise)(int), int own)
{
	TRY { raise(own); } EXCEPT(Plugin_Failed) { RETURN(1); } EXCEPT(Arena_Failed) { RETURN(2); } END_TRY;
	return 0;
}
static int catch_kind(void (*raise)(int)) { TRY { raise(1); } EXCEPT(Arena_Failed) { RETURN(1); } END_TRY; return 0; }
int main(void)
{
	void *other = dlopen("./libother.so", RTLD_NOW | RTLD_LOCAL);
	void (*other_raise)(int);
	int (*other_catch)(void (*)(void));

	if (!other) { puts(dlerror()); return 2; }
	*(void **)&other_raise = dlsym(other, "plugin_raise");
	*(void **)&other_catch = dlsym(other, "plugin_catch");
	return !(catch_own(plugin_raise, 1) == 1 && catch_own(plugin_raise, 0) == 2 && catch_kind(plugin_raise)
		&& plugin_catch(raise_theirs) == 1 && plugin_catch(raise_arena) == 2
		&& catch_kind(other_raise) && catch_own(other_raise, 0) == 2 && other_catch(raise_arena) == 2);
}
END

flags="$TEST_CFLAGS -I$include -fexceptions"
for how in '' -Wl,-Bsymbolic; do
	$CC $flags -fPIC -shared $how plugin.c -o libplugin.so $CORE_LDFLAGS -L"$library" -lcore &&
		cp libplugin.so libother.so || exit 1
	for kind in '-fPIE -pie' '-fno-pie -no-pie' '-fPIE -pie -Wl,-Bsymbolic'; do
		$CC $flags $kind main.c -o main $CORE_LDFLAGS -L. -lplugin -L"$library" -lcore -ldl ||
			{ status=1; continue; }
		./main || { echo "an exception lost its identity: plugin '$how', program '$kind'"; status=1; }
	done
done
exit $status
