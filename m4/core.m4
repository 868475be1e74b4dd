# SPDX-License-Identifier: MIT
# What configure.ac asks for, one macro a question. The user's CFLAGS and LDFLAGS are never touched:
# what the project wants for itself goes into CORE_CFLAGS and CORE_LDFLAGS.

# CORE_ADD_CFLAG(FLAG): adds it if the compiler takes it.
AC_DEFUN([CORE_ADD_CFLAG],
[AS_VAR_PUSHDEF([cache], [core_cv_cflag_$1])
AC_CACHE_CHECK([whether $CC takes $1], [cache],
	[core_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS -Werror $1"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
	CFLAGS=$core_save_CFLAGS])
AS_VAR_IF([cache], [yes], [CORE_CFLAGS="$CORE_CFLAGS $1"])
AS_VAR_POPDEF([cache])])

# CORE_ADD_LDFLAG(FLAG, VARIABLE): appends it to VARIABLE if the linker takes it for a shared object.
AC_DEFUN([CORE_ADD_LDFLAG],
[AS_VAR_PUSHDEF([cache], [core_cv_ldflag_$1])
AC_CACHE_CHECK([whether the linker takes $1], [cache],
	[core_save_LDFLAGS=$LDFLAGS
	LDFLAGS="$LDFLAGS -shared -fPIC $1"
	AC_LINK_IFELSE([AC_LANG_SOURCE([int core_probe(void) { return 0; }])],
		[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
	LDFLAGS=$core_save_LDFLAGS])
AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
AS_VAR_POPDEF([cache])])

AC_DEFUN([CORE_THREADS],
[AC_SEARCH_LIBS([pthread_create], [pthread], [], [AC_MSG_ERROR([POSIX threads are needed])])
THREAD_LIBS=-pthread
AC_SUBST([THREAD_LIBS])])

AC_DEFUN([CORE_WARNINGS],
[CORE_ADD_CFLAG([-Wall])
CORE_ADD_CFLAG([-Wextra])
CORE_ADD_CFLAG([-Wshadow])
CORE_ADD_CFLAG([-pedantic])
AS_IF([test "$enable_werror" != no], [CORE_CFLAGS="$CORE_CFLAGS -Werror"])])

# The names that the library exports carry a version, where the linker can do that.
AC_DEFUN([CORE_VERSION_SCRIPT],
[AC_CACHE_CHECK([whether the linker takes a version script], [core_cv_version_script],
	[echo 'CORE_PROBE { global: core_probe; local: *; };' > conftest.map
	core_save_LDFLAGS=$LDFLAGS
	LDFLAGS="$LDFLAGS -shared -fPIC -Wl,--version-script=conftest.map"
	AC_LINK_IFELSE([AC_LANG_SOURCE([int core_probe(void) { return 0; }])],
		[core_cv_version_script=yes], [core_cv_version_script=no])
	LDFLAGS=$core_save_LDFLAGS
	rm -f conftest.map])
AM_CONDITIONAL([VERSION_SCRIPT], [test "$core_cv_version_script" = yes])])

# A thread that exits calls back into the library (Except's records): it must still be mapped.
AC_DEFUN([CORE_NODELETE],
[NODELETE_LDFLAGS=
CORE_ADD_LDFLAG([-Wl,-z,nodelete], [NODELETE_LDFLAGS])
AC_SUBST([NODELETE_LDFLAGS])])

# 64-bit atomics: on 32-bit processors without them they are calls into a library. That one function is absent is no sign
# (gcc's names begin with __atomic, and are built in elsewhere): a program is linked that needs it.
AC_DEFUN([CORE_ATOMICS],
[AC_CACHE_CHECK([for a library of 64-bit atomics], [core_cv_lib_atomic],
	[core_save_LIBS=$LIBS
	core_cv_lib_atomic=absent
	for core_lib in '' -latomic; do
		LIBS="$core_lib $core_save_LIBS"
		AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <stdint.h>
				uint64_t core_probe;]],
			[[return (int)__atomic_fetch_add(&core_probe, 1, __ATOMIC_RELAXED);]])],
			[core_cv_lib_atomic=${core_lib:-none}; break])
	done
	LIBS=$core_save_LIBS])
AS_CASE([$core_cv_lib_atomic],
	[none], [],
	[absent], [AC_MSG_ERROR([64-bit atomics are needed, and libatomic is not installed])],
	[LIBS="$core_cv_lib_atomic $LIBS"])])

# -fexceptions makes calls of the unwinder, which not every compiler driver links by itself.
AC_DEFUN([CORE_UNWINDER],
[AC_SEARCH_LIBS([_Unwind_Resume], [unwind gcc_s])])

# A shared library that leaves a name undefined fails when it is built, not when a program starts. Sanitizers' names are
# in the program.
AC_DEFUN([CORE_NO_UNDEFINED],
[DEFS_LDFLAGS=
AS_IF([test "$enable_sanitizers" = no], [CORE_ADD_LDFLAG([-Wl,-z,defs], [DEFS_LDFLAGS])])
AC_SUBST([DEFS_LDFLAGS])])

AC_DEFUN([CORE_SANITIZERS],
[AS_CASE([$enable_sanitizers],
	[no], [],
	[AS_IF([test "$enable_sanitizers" = yes], [enable_sanitizers=address,undefined])
	core_flags="-fsanitize=$enable_sanitizers -fno-omit-frame-pointer -fno-sanitize-recover=all"
	core_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS $core_flags"
	AC_MSG_CHECKING([whether $CC links with -fsanitize=$enable_sanitizers])
	AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [AC_MSG_RESULT([yes])],
		[AC_MSG_RESULT([no])
		AC_MSG_ERROR([$CC cannot build with --enable-sanitizers=$enable_sanitizers: is its run-time library installed?])])
	CFLAGS=$core_save_CFLAGS
	CORE_CFLAGS="$CORE_CFLAGS $core_flags"
	CORE_LDFLAGS="$CORE_LDFLAGS -fsanitize=$enable_sanitizers"])])

# CORE_EXAMPLE(NAME, MODULE): the example for a library is built and tested if pkg-config knows the library.
AC_DEFUN([CORE_EXAMPLE],
[PKG_CHECK_MODULES([$1], [$2], [core_have_$1=yes],
	[core_have_$1=no; AC_MSG_NOTICE([$2 is not installed: the example that uses it will not be built])])
AM_CONDITIONAL([HAVE_$1], [test "$core_have_$1" = yes])])
