/* SPDX-License-Identifier: MIT */
/* SocketPool's hand-off to waiters (docs/design.md, "The client side"; src/net/pool/client.c, checkout.c, checkin.c), for spin: CLIENTS
 * threads check out connections to two hosts from a pool with PLACES places, TURNS times each. Whatever can happen
 * between two holdings of the lock may: attempts to connect fail and hold a host down, connections go bad, threads are
 * cancelled, deadlines pass, condition variables wake for nothing. Client 0 has no deadline and is not cancelled. A
 * holding of the lock is one atomic step.
 *
 * Claims: a connection has one holder at most, and none is lost; accounts agree whenever the lock is let go; nobody
 * waits who could be served, and so nobody takes what another waits for; who has no deadline is served or refused in the
 * end (else spin finds a state that is no end). Faults that models.sh puts in by -D must be found:
 *
 *   FORGETS          a waiter that gives up does not look whether it was served
 *   CANCEL_LOSES     a waiter that is cancelled does not give back what it was given
 *   FAILS_SILENTLY   who failed to connect serves nobody
 *   NO_DISMISS       who failed to connect does not wake those for whom there is no hope now
 *   KEEPS_WANTED     a connection stays idle although another host's waiter needs its place
 *   CANCEL_KEEPS     so it does when who was given it is cancelled
 *   HOLD_KEEPS       so it does when its place was needed by nobody until a hold-down ended
 *
 * The last two are what pool/client.c did before this model was.
 * Not modelled: draining, resizing, time but for its order. */
#ifndef CLIENTS
#define CLIENTS 3
#endif
#ifndef PLACES
#define PLACES 1
#endif
#ifndef TURNS
#define TURNS 1
#endif
#define HOSTS    2
#define PER_HOST 1
#define NONE     255

mtype = { FREE, IDLE, OUT, WAITING, GIVEN, MAY_OPEN };

mtype state[PLACES] = FREE;
byte host_of[PLACES], holder[PLACES] = NONE;
byte count, opening, open[HOSTS];
bool held[HOSTS];               /* held_until is in the future */
byte holds;                     /* so many so far */
bool hold_over[HOSTS];          /* it has passed, and nobody has served since */
byte list[CLIENTS], waiting;    /* list[0] is pool->first */
mtype verdict[CLIENTS] = WAITING;
byte given[CLIENTS] = NONE, wants[CLIENTS];
bool asleep[CLIENTS];

#define has_place()      (count + opening < PLACES)
#define host_may_open(h) (open[h] < PER_HOST && !held[h])
#define no_hope(h)       (held[h] && open[h] == 0)

/* s: an idle connection to h, or with NONE to any host; NONE if there is none. The newest and the least recent are
 * chosen for speed, so any will do here. */
inline find_idle(h, s)
{
	s = NONE;
	for (i : 0 .. PLACES - 1) {
		if
		:: state[i] == IDLE && (h == NONE || host_of[i] == h) -> s = i
		:: else
		fi
	}
	i = 0
}

inline detach(s)        /* client__detach_locked */
{
	state[s] = FREE;
	holder[s] = NONE;
	open[host_of[s]]--;
	host_of[s] = 0;
	count--
}

inline reserve(h)       /* client__reserve_locked */
{
	opening++;
	open[h]++
}

inline unreserve(h)     /* of client__give_back_locked */
{
	opening--;
	open[h]--
}

inline pop_idle(s, t)   /* client__pop_idle_locked */
{
	assert(state[s] == IDLE && holder[s] == NONE);
	state[s] = OUT;
	holder[s] = t
}

inline push_idle(s)     /* client__push_idle_locked */
{
	assert(state[s] == OUT);
	state[s] = IDLE;
	holder[s] = NONE
}

inline dequeue(t)       /* dequeue_waiter_locked */
{
	j = 0;
	do
	:: list[j] != t -> j++
	:: else -> break
	od;
	waiting--;
	do
	:: j < waiting -> list[j] = list[j + 1]; j++
	:: else -> break
	od;
	list[j] = 0;
	j = 0
}

inline serve_one(t, v)
{
	dequeue(t);
	verdict[t] = v;
	asleep[t] = false       /* pthread_cond_signal */
}

inline serve()          /* client__serve_locked */
{
	k = 0;
	do
	:: k < waiting ->
		w = list[k];
		find_idle(wants[w], s);
		if
		:: s != NONE ->
			pop_idle(s, w);
			given[w] = s;
			serve_one(w, GIVEN)
		:: s == NONE && has_place() && host_may_open(wants[w]) ->
			reserve(wants[w]);
			serve_one(w, MAY_OPEN)
		:: else -> k++
		fi
	:: else -> break
	od;
	hold_over[0] = false;
	hold_over[1] = false;
	k = 0;
	w = 0;
	s = NONE
}

inline dismiss()        /* client__dismiss_locked */
{
	for (i : 0 .. CLIENTS - 1) {
		asleep[i] = false
	}
	i = 0
}

/* make_room_unlocks, and what keep_idle_locked does at check-in */
inline make_room()
{
	wanted = false;
	k = 0;
	do
	:: k < waiting -> wanted = wanted || (!has_place() && host_may_open(wants[list[k]])); k++
	:: else -> break
	od;
	find_idle(NONE, s);
	if
	:: wanted && s != NONE -> detach(s); serve()
	:: else
	fi;
	wanted = false;
	k = 0;
	s = NONE
}

/* The lock is let go. */
inline check()
{
	k = 0;
	do
	:: k < waiting ->
		find_idle(wants[list[k]], s);
		assert(s == NONE);
		find_idle(NONE, s);
		assert(hold_over[wants[list[k]]] || !host_may_open(wants[list[k]]) || (!has_place() && s == NONE));
		k++
	:: else -> break
	od;
	k = 0;
	s = NONE;
	j = opening;
	for (i : 0 .. PLACES - 1) {
		j = j + (state[i] != FREE);
		assert((state[i] == OUT) == (holder[i] != NONE))
	}
	assert(j == count + opening && j <= PLACES && j == open[0] + open[1]);
	i = 0;
	j = 0
}

/* ---- checkout: who has waited, in `verdict`, is served (GIVEN, MAY_OPEN) or refused (WAITING) ---- */

inline claim()          /* claim_slot_or_place, with enqueue_waiter_locked */
{
	find_idle(h, s);
	if
	:: s != NONE ->
		pop_idle(s, me);
		given[me] = s;
		verdict[me] = GIVEN
	:: s == NONE && no_hope(h)      /* check_hope_unlocks */
	:: s == NONE && !no_hope(h) ->
		find_idle(NONE, s);
		if
		:: host_may_open(h) && (has_place() || s != NONE) ->
			if
			:: !has_place() -> detach(s)    /* the victim */
			:: else
			fi;
			reserve(h);
			verdict[me] = MAY_OPEN
		:: else ->
			wants[me] = h;
			list[waiting] = me;
			waiting++
		fi
	fi;
	k = 0;                          /* it overtook nobody: but at the end of a hold-down one who wakes just then */
	do
	:: k < waiting -> assert(verdict[me] == WAITING || wants[list[k]] != h || hold_over[h]); k++
	:: else -> break
	od;
	k = 0
}

inline is_listed(r)
{
	r = false;
	for (i : 0 .. CLIENTS - 1) {
		r = r || (i < waiting && list[i] == me)
	}
	i = 0
}

inline cancelled()      /* abandon_wait_unlocks, client__give_back_locked */
{
	if
	:: verdict[me] == WAITING -> dequeue(me)
#ifdef CANCEL_LOSES
	:: verdict[me] == GIVEN
#else
	:: verdict[me] == GIVEN -> push_idle(given[me])
#endif
	:: verdict[me] == MAY_OPEN -> unreserve(h)
	fi;
	verdict[me] = WAITING;
	given[me] = NONE;
	serve();
#ifndef CANCEL_KEEPS
	make_room()
#endif
}

/* sleep_once_unlocks: around the loop of client__await_turn_unlocks once */
inline wake()
{
	if
	:: !asleep[me]
	:: was_held && !held[h]                 /* until == held_until */
	:: me != 0 -> leaves = true             /* until == deadline */
	:: me != 0 -> cancelled(); stopped = true
	:: !woke -> woke = true                 /* for nothing, once */
	fi;
	asleep[me] = false;
	if
	:: stopped || leaves
	:: else ->
		serve();                        /* a hold-down may have ended */
#ifndef HOLD_KEEPS
		make_room()
#endif
	fi
}

inline sleep_or_leave()
{
	if
	:: stopped -> goes_on = true
	:: !stopped && (verdict[me] != WAITING || leaves || no_hope(h)) ->
#ifdef FORGETS
		if
		:: verdict[me] != WAITING && leaves -> verdict[me] = WAITING
		:: else
		fi;
#endif
		is_listed(goes_on);
		if
		:: goes_on -> dequeue(me)
		:: else
		fi;
		goes_on = true
	:: else ->
		was_held = held[h];
		asleep[me] = true
	fi;
	check()
}

inline checkout()
{
	do
	:: atomic { claim(); sleep_or_leave() }
		do
		:: goes_on -> break
		:: else -> atomic { wake(); sleep_or_leave() }
		od;
		atomic { goes_on = false; was_held = false; leaves = false; woke = false; stopped = false }
		do
		:: verdict[me] == GIVEN -> break
		:: verdict[me] == GIVEN -> atomic { replace(); check() }        /* it is not fit any more */
		:: verdict[me] == MAY_OPEN -> atomic { open_connection(); check() }
		:: verdict[me] == WAITING -> break
		od;
		if
		:: again -> again = false       /* its host is held down */
		:: else -> break
		fi
	od
}

inline replace()        /* replace_unfit_slot */
{
	assert(holder[given[me]] == me);
	detach(given[me]);
	find_idle(h, s);
	if
	:: s != NONE -> pop_idle(s, me); given[me] = s
	:: s == NONE && host_may_open(h) -> reserve(h); verdict[me] = MAY_OPEN; given[me] = NONE
	:: else -> verdict[me] = WAITING; given[me] = NONE; again = true
	fi;
	serve()
}

inline open_connection()
{
	if
	:: true ->                              /* install */
		opening--;
		count++;
		for (i : 0 .. PLACES - 1) {
			if
			:: state[i] == FREE && verdict[me] == MAY_OPEN ->
				state[i] = OUT;
				host_of[i] = h;
				holder[i] = me;
				given[me] = i;
				verdict[me] = GIVEN
			:: else
			fi
		}
		i = 0
	:: true ->                              /* end_checkout */
		unreserve(h);
		verdict[me] = WAITING;
		if
		:: holds < 2 -> holds++; held[h] = true
		:: true
		fi;
#ifndef FAILS_SILENTLY
		serve();
#endif
#ifndef NO_DISMISS
		dismiss()
#endif
	fi
}

/* take_back_slot_locked: checkin, or with a connection that may not stay as discard */
inline checkin()
{
	assert(state[given[me]] == OUT && holder[given[me]] == me);
	if
	:: push_idle(given[me]);
		serve();
#ifndef KEEPS_WANTED
		make_room()
#endif
	:: detach(given[me]);
		serve()
	fi;
	verdict[me] = WAITING;
	given[me] = NONE
}

proctype client(byte me)
{
	byte i, j, k, w, s = NONE, h, turns;
	bool goes_on, was_held, leaves, woke, stopped, wanted, again;

	do
	:: turns < TURNS ->
		turns++;
		if
		:: h = 0
		:: h = 1
		fi;
		checkout();
		if
		:: verdict[me] == GIVEN -> atomic { checkin(); check() }
		:: else
		fi
	:: else -> break
	od
}

/* Hold-downs end. */
active proctype clock()
{
end:	do
	:: atomic { held[0] -> held[0] = false; hold_over[0] = true }
	:: atomic { held[1] -> held[1] = false; hold_over[1] = true }
	od
}

init {
	byte t;

	atomic {
		do
		:: t < CLIENTS -> run client(t); t++
		:: else -> break
		od
	}
	t = 0;
	(_nr_pr == 2);          /* all clients are gone: none is lost */
	do
	:: t < PLACES -> assert(state[t] != OUT); t++
	:: else -> break
	od;
	assert(opening == 0 && waiting == 0)
}
