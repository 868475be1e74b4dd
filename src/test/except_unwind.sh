#!/bin/sh
# SPDX-License-Identifier: MIT
# A raise runs other people's clean-ups if Except_set_unwinding is on. This is tested with each
# compiler that is here, at each level. The clean-ups are __attribute__((cleanup)), C++ destructors
# in between, and defer where the newest clang knows -fdefer-ts. A function that is inlined cleans
# up like one that is not. Without -fexceptions only libcore's clean-ups run.
top=$(cd "${top_srcdir:-.}" && pwd)
library=$(cd "${top_builddir:-.}" && pwd)/.libs
[ -f "$library/libcore.so" ] || { echo "no shared library here"; exit 77; }
case $TEST_CFLAGS in *-fsanitize=* | *--coverage*) echo "not the library that is installed"; exit 77 ;; esac
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
status=0 runs=0

cat >"$work/middle.cc" <<'EOF'
#include <core/Except.h>
#include <string>
extern "C" void note(const char *);
extern "C" void middle(void (*fn)(void));
struct Noted {
	const char *name;
	~Noted() { note(name); }
};
static inline void call(void (*fn)(void))
{
	Noted inlined = { "inlined" };
	fn();
}
extern "C" void middle(void (*fn)(void))
{
	Noted outer = { "outer" };
	std::string text(100, 'x'); // a leak if it is not destroyed
	try {
		Noted inner = { "inner" };
		call(fn);
	} catch (const Noted &) {
		note("wrong");
	} catch (...) {
		note("any");
		throw;
	}
}
EOF
cat >"$work/main.c" <<'EOF'
#include <string.h>
#include <core/Except.h>
EXCEPT_DEFINE(Failed, NULL, "failed");
static char said[400];
void note(const char *);
void middle(void (*fn)(void));
void note(const char *s)
{
	strcat(strcat(said, " "), s);
}
static void clean(const char **s)
{
	note(*s);
}
#define CLEAN(name) const char *name __attribute__((cleanup(clean), unused)) = #name
#if DEFERS
#define DEFERRED(name) _Defer note(#name)
#else
#define DEFERRED(name) CLEAN(name)
#endif
static void __attribute__((noinline)) fail(void)
{
	CLEAN(a);
	DEFERRED(b);
	RAISE(Failed);
}
static inline void call(void)
{
	CLEAN(c);
	middle(fail);
}
int main(int argc, char **argv)
{
	(void)argv;
	Except_set_unwinding(argc > 1);
	TRY {
		DEFERRED(in);
		DEFER(note, "own");
		call();
	} EXCEPT(Failed) {
		note("handler");
	} END_TRY;
	puts(said);
	return 0;
}
EOF

expect() { # words, how the program was built, its arguments
	words=$1 how=$2
	shift 2
	said=$(LD_LIBRARY_PATH=$library "$work/main" "$@" 2>&1)
	[ "$said" = " $words" ] || { echo "$how, $# arguments: printed$said, not $words"; status=1; }
	runs=$((runs + 1))
}
build() { # compiler, of C++, flags, further flags of C
	"$2" $3 -I"$top/include" -c -o "$work/middle.o" "$work/middle.cc" &&
		"$1" $3 $4 -I"$top/include" -c -o "$work/main.o" "$work/main.c" &&
		"$2" $3 -o "$work/main" "$work/main.o" "$work/middle.o" -L"$library" $CORE_LDFLAGS -lcore
}
newest=$(for v in $(seq 30 -1 15); do command -v clang-$v; done | sed 1q)
for c in gcc clang $newest; do
	case $c in gcc) cxx=g++ ;; clang) cxx=clang++ ;; *) cxx=$(echo "$c" | sed 's/clang-/clang++-/') ;; esac
	command -v $c >/dev/null && command -v $cxx >/dev/null ||
		{ echo "$c is not installed"; continue; }
	defers=
	echo 'void f(void); void f(void) { _Defer f(); }' | $c -fdefer-ts -fsyntax-only -x c - \
		2>/dev/null &&
		defers='-fdefer-ts -DDEFERS'
	for flags in -O0 -O1 -O2 '-O2 -D_FORTIFY_SOURCE=2' '-O3 -fomit-frame-pointer'; do
		for more in -fexceptions ${defers:+"-fexceptions $defers"}; do
			build $c $cxx "$flags" "$more" || { echo "$c $flags $more: does not compile"; status=1; continue; }
			expect 'own handler' "$c $flags $more"
			expect 'b a inlined inner any outer c own in handler' "$c $flags $more" on
		done
		build $c $cxx "$flags" || { echo "$c $flags: does not compile"; status=1; continue; }
		expect 'own handler' "$c $flags"
		expect 'inlined inner any outer own handler' "$c $flags" on
	done
done
echo "$runs runs"
exit $status
