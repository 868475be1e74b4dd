#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the fuzz targets in the way of OSS-Fuzz: CC, CXX, CFLAGS and CXXFLAGS are what to compile
# with, LIB_FUZZING_ENGINE what to link, OUT where the programs go. scripts/fuzz calls it too.
set -eu
: "${CC:?}" "${CXX:?}" "${CFLAGS:?}" "${LIB_FUZZING_ENGINE:?}" "${OUT:?}"
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
[ -f "$top/configure" ] || (cd "$top" && ./autogen.sh)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cd "$build"
"$top/configure" --disable-shared CXX="$CXX" CXXFLAGS="${CXXFLAGS-$CFLAGS}"
make -j"$(nproc)" src/libinternal.la
llhttp=$(sed -n 's/^LLHTTP_CPPFLAGS = //p' Makefile)
flags="$CFLAGS -DHAVE_CONFIG_H -I. -I$top/include -I$top/src/core -I$top/src/net $llhttp -fexceptions"
for source in "$top/src/test/http_oracle.c" "$top/src/test/peer_llhttp.c" \
	"$top/src/test/peer_llhttp_api.c"; do
	$CC $flags -c "$source"
done
for source in "$here"/*.c; do
	target=$(basename "$source" .c)
	oracle=
	case $target in
	driver) continue ;; # stands in for libFuzzer where there is none
	answer | request) oracle='http_oracle.o peer_llhttp.o peer_llhttp_api.o' ;;
	esac
	$CC $flags -c "$source"
	$CXX $CFLAGS -o "$OUT/$target" "$target.o" $oracle src/.libs/libinternal.a $LIB_FUZZING_ENGINE \
		-pthread
	! command -v zip >/dev/null || (cd "$top/src/test/corpus/$target" &&
		zip -q "$OUT/${target}_seed_corpus.zip" ./*)
done
