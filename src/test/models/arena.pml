/* SPDX-License-Identifier: MIT */
/* The owner's lane and the common one (docs/design.md), for spin. THREADS threads allocate from
 * one arena and clear it, OPS times each, in any order, on machines with store buffers (TSO).
 * Names in capitals and [own-n], [rev-n] are those of ArenaInline.h, arena/rep.h and
 * arena/threads.c.
 *
 * A thread may be cancelled between two calls (END_EARLY), and a signal handler may end a thread
 * amid a bump (END_AMID): then retire() of arena/threads.c runs. fork does the same to all threads
 * but one, in reset_threads(). A handler that does not allocate only makes its thread slower,
 * which every step here may be. models.sh puts these faults in by -D; each must be found:
 *
 *   NO_BARRIER         [rev-2] is left out
 *   NO_FENCE           [own-2] is left out: the compiler reads the owner before it writes busy
 *   EARLY_LEAVE        [own-5] is no release: the compiler writes busy before avail
 *   BUSY_IN_ARENA      busy is a word of the arena, the first design
 *   HANDLER_ALLOCATES  a signal handler that comes amid a bump allocates from the arena: the
 *                      reason why Arena(3) forbids it
 *   CANCEL_IN_WAIT     wait_out() is a cancellation point: the lock stays held
 *   NO_RETIRE          retire() leaves busy as it is
 *   STEALS_LANE        a visitor bumps the owner's lane without [rev-1] to [rev-3], instead of
 *                      the common lane
 *
 * One arena is enough: a revoker asks of a record only whether it is amid this one. A thread that
 * ends and passes its record on is the same to all others as one that goes on. Not modelled: what
 * stays under the lock, and machines weaker than TSO. These need the acquires and releases of
 * [own-3] and [own-5], which are in the code. */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef OPS
#define OPS 3
#endif
#define NOBODY 255

/* ---- memory: words, and a first-in-first-out buffer of stores before them for each thread ---- */

#define OWNER    0
#define AVAIL    1                       /* of the owner's lane */
#define COMMON   2                       /* avail of the common lane */
#define LOCK     3                       /* arena->lock: held by a value of 1 */
#ifdef BUSY_IN_ARENA
#define BUSY(t)  4
#else
#define BUSY(t)  (4 + (t))               /* record t's busy: 1 for this arena */
#endif
#define WORDS    (4 + THREADS)
#define DEPTH    4

byte mem[WORDS];
typedef Buffer { byte n, word[DEPTH], value[DEPTH] };
Buffer stores[THREADS];

/* The oldest store reaches memory. */
inline drain_one(t)
{
	mem[stores[t].word[0]] = stores[t].value[0];
	for (i : 1 .. DEPTH - 1) {
		stores[t].word[i - 1] = stores[t].word[i];
		stores[t].value[i - 1] = stores[t].value[i];
	}
	stores[t].word[DEPTH - 1] = 0;
	stores[t].value[DEPTH - 1] = 0;
	stores[t].n--;
	i = 0;
}

/* First in a step: a thread whose buffer is full waits. */
inline put(w, v)
{
	stores[me].n < DEPTH;
	stores[me].word[stores[me].n] = w;
	stores[me].value[stores[me].n] = v;
	stores[me].n++;
}

/* A thread sees its own stores before the others do. */
inline get(w, r)
{
	r = mem[w];
	i = 0;
	do
	:: i < stores[me].n ->
		if
		:: stores[me].word[i] == w -> r = stores[me].value[i]
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

active proctype memory()
{
	byte i;

end:	do
	:: d_step { stores[0].n > 0 -> drain_one(0) }
	:: d_step { stores[1].n > 0 -> drain_one(1) }
#if THREADS > 2
	:: d_step { stores[2].n > 0 -> drain_one(2) }
#endif
	od
}

/* ---- what no program sees, for the claims ---- */

byte in_lane = NOBODY;      /* the thread between [own-3] and [own-5] of the owner's lane */
byte alone = NOBODY;        /* who revoked the owner and is past [rev-3] */
bool visited;               /* VISITED of arena->slow; under the lock */
int given;                  /* the addresses of the owner's lane that were handed out, a bit each */
int given_common;           /* of the common lane */

/* avail is read here and written in the next step: two at once would be given the same bytes. */
inline note_given(which, p)
{
	assert(!(which & (1 << p)));     /* claims (1) and (3): bytes are given once */
	which = which | (1 << p);
}

/* ---- the library under the lock ---- */

/* pthread_mutex_lock is an atomic read-modify-write, so the buffer is empty; unlock is a release
 * store. */
inline lock()
{
	atomic { stores[me].n == 0 && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

inline unlock()
{
	d_step { put(LOCK, 0); alone = NOBODY }
}

/* pass_barrier, arena/threads.c. The caller passes a full barrier when it enters the kernel, or the
 * model fails. Then every other thread does, each at a time of its own. */
inline barrier()
{
	n = 0;
#ifndef NO_BARRIER
	stores[me].n == 0;
	do
	:: n < THREADS ->
		d_step {
			i = 0;
			do
			:: stores[n].n > 0 -> drain_one(n)
			:: else -> break
			od;
			n++
		}
	:: else -> break
	od;
	n = 0
#endif
}

/* wait_out, arena/threads.c */
inline wait_out()
{
#ifdef CANCEL_IN_WAIT
	if
	:: atomic { mem[BUSY(was - 1)] == 0 -> was = 0 }
	:: mem[BUSY(was - 1)] != 0 -> goto ended                            /* with the lock held */
	fi
#else
	atomic { mem[BUSY(was - 1)] == 0 -> was = 0 }                       /* [rev-3] */
#endif
}

/* revoke_owner, arena/threads.c */
inline revoke_owner()
{
	d_step {
		get(OWNER, was);
		if
		:: was == me + 1 -> was = 0
		:: else
		fi
	}
	if
	:: was != 0 ->
		d_step { put(OWNER, 0) }                                    /* [rev-1] */
		barrier();                                                  /* [rev-2] */
		wait_out()
	:: else
	fi;
	d_step { assert(in_lane == NOBODY); alone = me }                    /* claim (1) */
}

/* arena__claim, arena/threads.c, and then bump_locked, arena/chunks.c */
inline allocate_slowly()
{
	lock();
	d_step { get(OWNER, owner) }
	if
	:: owner != 0 && owner != me + 1 && visited -> bump_common()
	:: owner != 0 && owner != me + 1 && !visited -> visited = true; revoke_owner(); bump_own()
	:: else -> bump_own()
	fi;
	owner = 0;
	unlock()
}

inline bump_own()
{
	d_step { put(OWNER, me + 1); assert(in_lane == NOBODY); alone = me }
	d_step { get(AVAIL, p); note_given(given, p) }
	d_step { put(AVAIL, p + 1); p = 0 }
}

inline bump_common()
{
#ifdef STEALS_LANE
	d_step { get(AVAIL, p); note_given(given, p) }
	d_step { put(AVAIL, p + 1); p = 0 }
#else
	d_step { get(COMMON, p); note_given(given_common, p) }
	d_step { put(COMMON, p + 1); p = 0 }
#endif
}

/* arena__lock_alone, arena/threads.c: clear, reset, mark, rewind, dispose */
inline clear()
{
	lock();
	revoke_owner();
	d_step { put(AVAIL, 0); given = 0 }
	d_step { put(COMMON, 0); given_common = 0; visited = false }
	d_step { put(OWNER, me + 1) }
	unlock()
}

/* ---- the thread: Arena__bump (ArenaInline.h), arena__enter (arena/rep.h), the library ---- */

#ifdef HANDLER_ALLOCATES
#define HANDLER \
	if \
	:: !handled -> handled = true; \
		d_step { put(BUSY(me), 1); get(AVAIL, q) } \
		d_step { note_given(given, q); put(AVAIL, q + 1) } \
		d_step { put(BUSY(me), 0); q = 0 } \
	:: true \
	fi
#else
#define HANDLER skip
#endif

/* A signal handler that ends the thread. */
#define END_AMID if :: atomic { in_lane = NOBODY; p = 0; goto retired } :: true fi

inline allocate()
{
#ifdef NO_FENCE
	d_step { get(OWNER, owner) }
	d_step { put(BUSY(me), 1) }
#else
	d_step { put(BUSY(me), 1) }                                         /* [own-1], [own-2] */
	d_step { get(OWNER, owner) }                                        /* [own-3] */
#endif
	if
	:: owner == me + 1 ->
		d_step {
			assert(in_lane == NOBODY && alone == NOBODY);       /* claim (1) */
			in_lane = me;
			owner = 0;
			get(AVAIL, p);                                      /* [own-4] */
		}
		HANDLER;
		END_AMID;
		d_step { assert(alone == NOBODY); note_given(given, p) }
#ifdef EARLY_LEAVE
		d_step { put(BUSY(me), 0); in_lane = NOBODY }
		d_step { put(AVAIL, p + 1); p = 0 }
#else
		d_step { put(AVAIL, p + 1); p = 0 }                         /* [own-4] */
		END_AMID;
		d_step { put(BUSY(me), 0); in_lane = NOBODY }               /* [own-5] */
#endif
	:: else ->
		d_step { put(BUSY(me), 0); owner = 0 }                      /* [own-5] */
		allocate_slowly()
	fi
}

proctype thread(byte me)
{
	byte i, n, p, was, owner, ops;
#ifdef HANDLER_ALLOCATES
	byte q;
	bool handled;
#endif

	do
	:: ops < OPS ->
		ops++;
		if
		:: allocate()
		:: clear()
		:: goto ended                    /* END_EARLY: cancelled between two calls */
		fi
	:: else -> goto ended
	od;
retired:
	skip;
#ifndef NO_RETIRE
	d_step { put(BUSY(me), 0) }              /* retire */
#endif
ended:
	skip
}

/* The maker is the owner. spin reports a thread that waits without end as an invalid end state. */
init {
	byte t;

	atomic {
		mem[OWNER] = 1;
		do
		:: t < THREADS -> run thread(t); t++
		:: else -> break
		od
	}
}
