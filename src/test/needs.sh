# SPDX-License-Identifier: MIT
# Sourced by tests that need what a machine may lack: `need` ends the script with 77, as a skipped
# test, and says what is missing.

need_descriptors() { # how many may be open; raises the soft limit if it is lower
	if [ "$(ulimit -H -n)" != unlimited ] && [ "$(ulimit -H -n)" -lt "$1" ]; then
		echo "skipped: $1 descriptors are needed, and $(ulimit -H -n) are allowed"
		exit 77
	fi
	[ "$(ulimit -S -n)" = unlimited ] || [ "$(ulimit -S -n)" -ge "$1" ] || ulimit -S -n "$1"
}

need() { # loopback, descriptors=N, or the name of a program
	for what in "$@"; do
		case $what in
		loopback) "${top_builddir:-.}/src/test/loopback" || exit 77 ;;
		descriptors=*) need_descriptors "${what#*=}" ;;
		*) command -v "$what" >/dev/null 2>&1 ||
			{ echo "skipped: $what is not installed"; exit 77; } ;;
		esac
	done
}
