/* SPDX-License-Identifier: MIT */
/* The owner's lane (docs/design.md), for spin: THREADS threads allocate from one arena and clear it, OPS times each,
 * in any order, on machines with store buffers (TSO). Faults that models.sh puts in by -D must be found:
 *
 *   NO_BARRIER       [rev-2] is left out
 *   NO_FENCE         [own-2] is left out: the compiler reads the owner before it writes busy
 *   EARLY_LEAVE      [own-5] is no release: the compiler writes busy before avail
 *   BUSY_IN_ARENA    busy is a word of the arena, the first design
 *   KEYS_AGAIN       a key of the sides is used twice
 *
 * One arena is enough: what a revoker asks of a record is whether it is amid this one. A thread that ends and passes
 * its record on is the same to all others as one that goes on. Not modelled: what stays under the lock, machines weaker
 * than TSO (there the acquires and releases of [own-3] and [own-5] are needed, which are in the code). */
#ifndef THREADS
#define THREADS 2
#endif
#ifndef OPS
#define OPS 3
#endif
#define NOBODY 255

/* ---- memory: words, and a first-in-first-out buffer of stores before them for each thread ---- */

#define OWNER    0
#define KEY      1
#define AVAIL    2                       /* of the owner's lane */
#define LOCK     3                       /* arena->lock: held by a value of 1 */
#define SIDE(t)  (4 + (t))               /* avail of the side of t */
#ifdef BUSY_IN_ARENA
#define BUSY(t)  (4 + THREADS)
#else
#define BUSY(t)  (4 + THREADS + (t))     /* record t's busy: 1 for this arena */
#endif
#define WORDS    (4 + 2 * THREADS)
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
bool in_side[THREADS];
bool live[THREADS];         /* the side of this thread has memory */
int given;                  /* the addresses of the lane that were handed out, a bit each */
byte sides;                 /* arena->sides, a bit each; under the lock */
byte known[THREADS];        /* thread->known[] */
byte keys;                  /* arena__unique */

/* avail is read here and written in the next step: two at once would be given the same bytes. */
inline note_given(p)
{
	assert(!(given & (1 << p)));     /* claims (1) and (3): bytes are given once */
	given = given | (1 << p);
}

/* ---- the library under the lock ---- */

/* pthread_mutex_lock is an atomic read-modify-write, so the buffer is empty; unlock is a release store. */
inline lock()
{
	atomic { stores[me].n == 0 && mem[LOCK] == 0 -> mem[LOCK] = 1 }
}

inline unlock()
{
	d_step { put(LOCK, 0); alone = NOBODY }
}

/* arena__barrier, arena/threads.c: the caller passes a full barrier when it enters the kernel (without that the model
 * fails), and then every other thread does, each at a time of its own. */
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

/* arena__revoke, arena/threads.c */
inline revoke(sides_too)
{
	d_step {
		get(OWNER, was);
		if
		:: was == me + 1 -> was = 0
		:: else
		fi
	}
	if
	:: was != 0 || (sides_too && sides != 0) ->
		if
		:: was != 0 -> d_step { put(OWNER, 0) }             /* [rev-1] */
		:: else
		fi;
		if
		:: sides_too && sides != 0 -> d_step { put(KEY, 0) }        /* [rev-1] */
		:: else
		fi;
		barrier();                                                  /* [rev-2] */
		if
		:: was != 0 -> atomic { mem[BUSY(was - 1)] == 0 -> was = 0 }        /* [rev-3], wait_out */
		:: else
		fi;
		if
		:: sides_too ->
			n = 0;
			do
			:: n < THREADS ->
				atomic {
					!(sides & (1 << n)) || n == me || mem[BUSY(n)] == 0;     /* [rev-3] */
					assert(!in_side[n]);
					live[n] = false;                 /* what the side had is released */
					n++
				}
			:: else -> break
			od;
			n = 0;
			sides = 0
		:: else
		fi
	:: else
	fi;
	d_step { assert(in_lane == NOBODY); alone = me }                            /* claim (1) */
}

/* arena__claim and then a bump under the lock, or a side: when which of the two is policy, here either may be. */
inline allocate_slowly()
{
	lock();
	d_step { get(OWNER, owner) }
	if
	:: owner != 0 && owner != me + 1 ->
		if
		:: revoke(0); goto_own()
		:: make_side()
		fi
	:: else -> goto_own()
	fi;
	owner = 0;
	unlock()
}

inline goto_own()
{
	d_step { put(OWNER, me + 1); assert(in_lane == NOBODY); alone = me }
	d_step { get(AVAIL, p); note_given(p) }
	d_step { put(AVAIL, p + 1); p = 0 }
}

/* take_side, arena/grow.c. The slice is written before the key is known, by the thread that alone enters it. */
inline make_side()
{
	d_step {
		stores[me].n + 1 < DEPTH;
		get(KEY, p);
		if
		:: p == 0 ->
#ifdef KEYS_AGAIN
			p = 1;
#else
			keys++;
			p = keys;
#endif
			put(KEY, p)
		:: else
		fi;
		if
		:: !(sides & (1 << me)) ->
			sides = sides | (1 << me);
			live[me] = true;
			put(SIDE(me), 0)
		:: else
		fi;
		known[me] = p;
		p = 0
	}
}

/* arena__lock_alone: clear, reset, mark, rewind, dispose */
inline clear()
{
	lock();
	revoke(1);
	d_step { put(AVAIL, 0); given = 0 }
	d_step { put(OWNER, me + 1) }
	unlock()
}

/* ---- the thread: Arena__bump (ArenaInline.h) and arena__enter (arena/rep.h), then the library ---- */

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
		d_step { assert(alone == NOBODY); note_given(p) }
#ifdef EARLY_LEAVE
		d_step { put(BUSY(me), 0); in_lane = NOBODY }
		d_step { put(AVAIL, p + 1); p = 0 }
#else
		d_step { put(AVAIL, p + 1); p = 0 }                         /* [own-4] */
		d_step { put(BUSY(me), 0); in_lane = NOBODY }               /* [own-5] */
#endif
	:: else ->
		d_step { owner = 0; get(KEY, p) }                           /* [own-3] */
		if
		:: p != 0 && p == known[me] ->
			d_step {
				assert(live[me]);                           /* a side is only looked at while it is there */
				in_side[me] = true;
				get(SIDE(me), p)                            /* [own-4] */
			}
			d_step { put(SIDE(me), p + 1); assert(live[me]); p = 0 }
			d_step { put(BUSY(me), 0); in_side[me] = false }    /* [own-5] */
		:: else ->
			d_step { put(BUSY(me), 0); p = 0 }                  /* [own-5] */
			allocate_slowly()
		fi
	fi
}

proctype thread(byte me)
{
	byte i, n, p, was, owner, ops;

	do
	:: ops < OPS ->
		ops++;
		if
		:: allocate()
		:: clear()
		fi
	:: else -> break
	od
}

/* The maker is the owner. spin reports a thread that waits for ever, as a state that is no end. */
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
