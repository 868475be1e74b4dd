// SPDX-License-Identifier: MIT
// Except in a C++17 program: the statement, RETURN of C++ types, AUTO and DEFER, lambdas, and a C++
// exception that passes through TRY statements of C++ and of the library's own C code.
#include <core/core.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <exception>
#include <stdexcept>
#include <string>
#include <utility>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

EXCEPT_DEFINE(Broken, nullptr, "broken");
EXCEPT_DEFINE(Very_Broken, &Broken, "very broken");

static std::string events;

#define CHECK(condition)                                                                    \
	((condition) ? (void)0                                                              \
	             : (std::printf("%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #condition, \
				events.c_str()),                                            \
			std::exit(1)))

static void note(int *p)
{
	events += std::to_string(*p);
}

static bool nothing_is_open()
{
	return Except__thread()->top == nullptr && Except_current() == nullptr;
}

static void test_statement()
{
	events.clear();
	for (volatile int i = 0; i < 3; i = i + 1)
		TRY {
			if (i == 0)
				RAISE_MSG(Very_Broken, "part %d", 7);
			if (i == 1)
				continue;
			Except_assert(i == 1);
		} EXCEPT(Broken) {
			events += Except_message();
		} ELSE {
			events += Except_message();
		} FINALLY {
			events += ";";
		} END_TRY;
	CHECK(events == "part 7;i == 1;");
	CHECK(nothing_is_open());
}

static int an_int() { TRY { RETURN(1); } FINALLY { events += "i"; } END_TRY; return 0; }
static const char *a_string()
{
	TRY { RETURN("x"); } FINALLY { events += "s"; } END_TRY;
	return nullptr;
}
static void *null() { TRY { RETURN(nullptr); } FINALLY { events += "n"; } END_TRY; return &events; }
static void nothing() { TRY { RETURN(); } FINALLY { events += "v"; } END_TRY; events += "!"; }
static std::pair<int, long> a_pair()
{
	TRY { RETURN(std::pair<int, long>(1, 2)); } FINALLY { events += "p"; } END_TRY;
	return {};
}

static void test_return()
{
	events.clear();
	CHECK(an_int() == 1);
	CHECK(std::strcmp(a_string(), "x") == 0);
	CHECK(null() == nullptr);
	nothing();
	CHECK(a_pair().second == 2);
	CHECK(events == "isnvp");
	CHECK(nothing_is_open());
}

static int with_lambda()
{
	TRY {
		auto inner = [&](int x) -> int {
			TRY {
				RETURN(x + 1);
			} FINALLY {
				events += "l";
			} END_TRY;
			return 0;
		};
		RETURN(inner(4) * 2);
	} FINALLY {
		events += "o";
	} END_TRY;
	return 0;
}

static void test_return_of_a_lambda_is_its_own()
{
	events.clear();
	CHECK(with_lambda() == 10);
	CHECK(events == "lo");
}

static int with_scopes(bool fail)
{
	AUTO(int, a, note) = 1;
	DEFER(note, &a);
	TRY {
		AUTO(int, b, note) = 2;
		if (fail)
			RAISE(Broken);
		RETURN(a + b);
	} EXCEPT(Broken) {
		RETURN(-1);
	} FINALLY {
		events += "f";
	} END_TRY;
	return 0;
}

static void test_scopes()
{
	events.clear();
	CHECK(with_scopes(false) == 3);
	CHECK(events == "2f11");
	events.clear();
	CHECK(with_scopes(true) == -1);
	CHECK(events == "2f11");
	CHECK(nothing_is_open());
}

// ---- C++ exceptions through TRY

static void throw_inside()
{
	TRY {
		AUTO(int, a, note) = 1;
		DEFER(note, &a);
		TRY {
			throw std::runtime_error("thrown");
		} ELSE {
			events += "never";
		} END_TRY;
	} EXCEPT(Broken) {
		events += "never";
	} END_TRY;
}

static void throw_in_handler()
{
	TRY {
		RAISE_MSG(Broken, "message");
	} EXCEPT(Broken) {
		throw std::runtime_error(Except_message());
	} END_TRY;
}

template <class F> static std::string caught(F f)
{
	try {
		f();
	} catch (const std::exception &e) {
		return e.what();
	}
	return "nothing";
}

static void test_a_cxx_exception_pops_the_frames()
{
	events.clear();
	CHECK(caught(throw_inside) == "thrown");
	CHECK(events == "11");
	CHECK(nothing_is_open());
	CHECK(caught(throw_in_handler) == "message");
	CHECK(nothing_is_open());
	CHECK(with_scopes(true) == -1); // and a raise still finds its way
}

static void thrower(void *)
{
	throw std::runtime_error("through C");
}

// Arena_clear calls deferred functions inside a TRY of its own, in C compiled with -fexceptions.
// The test leaks the arena, because its clear never ended.
static void throw_through_the_library()
{
	Arena_T arena = Arena_new();

	Arena_defer(arena, thrower, nullptr);
	Arena_clear(arena);
}

static void test_a_cxx_exception_pops_the_frames_of_c_code()
{
	CHECK(caught(throw_through_the_library) == "through C");
	CHECK(nothing_is_open());
	TRY {
		CHECK(caught(throw_through_the_library) == "through C");
		RAISE(Broken);
	} EXCEPT(Broken) {
		events = "caught";
	} END_TRY;
	CHECK(events == "caught");
	CHECK(nothing_is_open());
}

static void test_a_statement_inside_a_catch()
{
	events.clear();
	try {
		throw std::runtime_error("first");
	} catch (const std::exception &) {
		TRY {
			RAISE(Broken);
		} EXCEPT(Broken) {
			events += "inside";
		} END_TRY;
	}
	CHECK(events == "inside");
}

// ---- a raise that runs destructors

struct Noted {
	const char *name;
	~Noted() { events += name; }
};

static void raise_past_a_destructor()
{
	Noted a = { "a" };

	RAISE(Broken);
}

static void raise_past_a_catch_that_throws_on()
{
	Noted b = { "b" };

	try {
		Noted c = { "c" };

		raise_past_a_destructor();
	} catch (const std::exception &) {
		events += "wrong";
	} catch (...) {
		events += "any";
		throw;
	}
}

static void raise_out_of_a_handler_of_cxx()
{
	try {
		throw std::runtime_error("handled");
	} catch (const std::exception &) {
		raise_past_a_destructor();
	}
}

static void unwind(void (*f)(), const char *expected)
{
	events.clear();
	TRY {
		Noted in = { "in" };

		f();
	} EXCEPT(Broken) {
		events += "H";
	} END_TRY;
	CHECK(events == expected);
	CHECK(nothing_is_open());
	CHECK(std::uncaught_exceptions() == 0 && !std::current_exception());
}

static void test_a_raise_runs_destructors_if_it_is_asked_to()
{
	if (!Except_set_unwinding(1))
		return;
	unwind(raise_past_a_destructor, "ainH");
	unwind(raise_past_a_catch_that_throws_on, "acanybinH");
	unwind(raise_out_of_a_handler_of_cxx, "ainH");
	CHECK(caught([] { throw std::runtime_error("after it"); }) == "after it");
	Except_set_unwinding(0);
	unwind(raise_past_a_destructor, "H");
}

// The price of the opt-in for C++: a catch (...) that keeps the exception, a noexcept function, and
// a clean-up that raises on the way end the process, as with pthread_cancel(3).
static void keep_it()
{
	try {
		raise_past_a_destructor();
	} catch (...) {
	}
}

static void raise_through_noexcept() noexcept
{
	raise_past_a_destructor();
}

static void raise_in_a_clean_up()
{
	struct Raises {
		~Raises() { RAISE(Broken); }
	} raises;

	raise_past_a_destructor();
}

static bool ends_the_process(void (*f)())
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		std::set_terminate([] { _exit(70); });
		signal(SIGABRT, [](int) { _exit(70); });
		freopen("/dev/null", "w", stderr);
		Except_set_unwinding(1);
		TRY {
			f();
		} ELSE {
		} END_TRY;
		_exit(0);
	}
	waitpid(child, &status, 0);
	return WIFEXITED(status) && WEXITSTATUS(status) == 70;
}

static void test_what_ends_the_process_on_the_way()
{
	if (!Except_set_unwinding(0) && !Except_set_unwinding(1))
		return;
	Except_set_unwinding(0);
	CHECK(ends_the_process(keep_it));
	CHECK(ends_the_process(raise_through_noexcept));
	CHECK(ends_the_process(raise_in_a_clean_up));
	CHECK(!ends_the_process(raise_past_a_catch_that_throws_on));
}

int main()
{
	test_statement();
	test_return();
	test_return_of_a_lambda_is_its_own();
	test_scopes();
	test_a_cxx_exception_pops_the_frames();
	test_a_cxx_exception_pops_the_frames_of_c_code();
	test_a_statement_inside_a_catch();
	test_a_raise_runs_destructors_if_it_is_asked_to();
	test_what_ends_the_process_on_the_way();
	return 0;
}
