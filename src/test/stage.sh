# SPDX-License-Identifier: MIT
# Sourced by tests of what users are told to do: installs this build into $work/stage, and lets
# `cc` and `pkg-config`, as a user would call them, find it there; `cc` is this build's compiler
# with this build's flags, and has POSIX like any cc, also where CC has -std=c2x.
command -v pkg-config >/dev/null || { echo "pkg-config is not installed"; exit 77; }
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
stage=$work/stage
(unset MAKEFLAGS MFLAGS MAKELEVEL; cd "$top_builddir" &&
	make install DESTDIR="$stage") >"$work/install.log" 2>&1 ||
	{ cat "$work/install.log"; exit 1; }
PKG_CONFIG_SYSROOT_DIR=$stage
PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name libcore.pc)")
LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH")
mkdir "$work/bin"
cat >"$work/bin/cc" <<END
#!/bin/sh
exec $CC -D_DEFAULT_SOURCE $TEST_CFLAGS -Wshadow -pedantic -Werror "\$@" $CORE_LDFLAGS
END
chmod +x "$work/bin/cc"
PATH=$work/bin:$PATH
export PATH PKG_CONFIG_SYSROOT_DIR PKG_CONFIG_PATH LD_LIBRARY_PATH
