/*
 * Runs that calls ask for and that are worked in the process of the call: a group of them is added and claimed in
 * one transaction, beside others. Two flows with one slot. Each process starts one run of each flow. Run r = 2p+f is
 * what process p adds for flow f. If a run of the flow waits already, the call has that one, and adds none.
 *
 * Whoever adds a run of a flow first waits for another transaction that adds one, by the index of the runs that wait. A
 * group does so for a moment only, and starts each run by itself after that. A claim of one waits for the flow's
 * other claims. One in a group leaves it out if it is not free.
 *
 * group.pml has checkpoints, and ends together. Here a run is worked and ended in one step.
 */

#ifndef KILLS
#define KILLS 1         /* a process is killed with its open transaction and the runs that it works */
#endif
#ifndef LOST
#define LOST 1          /* the answer to a commit is lost */
#endif
#ifndef LAPSES
#define LAPSES 1        /* a lease lapses though its worker lives */
#endif

#define FLOWS 2
#define RUNS 4
#define NONE 255

mtype = { absent, pending, in_progress, success };

/* What is committed. */
mtype state[RUNS] = absent;
byte lease[RUNS], counted[RUNS];
bool lapsed[RUNS];
byte waits[FLOWS] = NONE;   /* the run that has the flow's key: it was never claimed */
byte slot[FLOWS] = NONE;    /* the run in progress */

/* The transaction that has it, or 0. */
byte keyLock[FLOWS], claimLock[FLOWS];

/* The lease number under which process p works run r, or NONE: 4p+r. */
byte has[8] = NONE;
bool answered[4];           /* the call of process p for flow f has a run, or an error: 2p+f */
byte kills = KILLS, lost = LOST, lapses = LAPSES, left = 2;

#define me (p + 1)
#define mine(f) (2 * p + (f))
#define over(r) (state[r] == absent || state[r] == success)
#define quiet (over(0) && over(1) && over(2) && over(3))
#define live(q, r) (has[4 * (q) + (r)] != NONE && has[4 * (q) + (r)] == lease[r])

inline release() {
	if :: keyLock[0] == me -> keyLock[0] = 0 :: else fi;
	if :: keyLock[1] == me -> keyLock[1] = 0 :: else fi;
	if :: claimLock[0] == me -> claimLock[0] = 0 :: else fi;
	if :: claimLock[1] == me -> claimLock[1] = 0 :: else fi
}

inline forget() { has[4 * p] = NONE; has[4 * p + 1] = NONE; has[4 * p + 2] = NONE; has[4 * p + 3] = NONE }

/* Its callers die with it: their calls have no answer, and need none. */
#define MAY_DIE :: atomic { kills > 0 -> kills--; release(); forget(); answered[2 * p] = true; answered[2 * p + 1] = true; goto next }

/* What a commit does. */
inline grant(r, f) {
	assert(state[r] == pending || state[r] == absent);
	assert(slot[f] == NONE);            /* never two runs in one slot */
	state[r] = in_progress; lease[r]++; lapsed[r] = false; slot[f] = r;
	if :: waits[f] == r -> waits[f] = NONE :: else fi
}

inline add(r, f) {
	assert(waits[f] == NONE);           /* never two that wait under one key */
	state[r] = pending; waits[f] = r
}

/* The run of a flow in a group: it is added, left out because one waits already, or in the way. */
inline add_in_group(f) {
	if
	:: atomic { !answered[mine(f)] && !keyLock[f] ->
		if :: waits[f] == NONE -> keyLock[f] = me; added[f] = true :: else fi }
#ifndef NO_TIMEOUT
	:: atomic { !answered[mine(f)] && keyLock[f] && keyLock[f] != me -> release(); goto alone }
#endif
	:: atomic { answered[mine(f)] }
	fi
}

inline claim_in_group(f) {
	atomic {
		if
#ifdef NO_CLAIM_LOCK
		:: added[f] && slot[f] == NONE -> got[f] = true
#else
		:: added[f] && !claimLock[f] ->
			claimLock[f] = me;
			if :: slot[f] == NONE -> got[f] = true :: else fi
#endif
		:: else
		fi
	}
}

inline commit_of(f, known) {
	if
	:: added[f] && got[f] -> grant(mine(f), f); answered[mine(f)] = true;
		if :: known -> has[4 * p + mine(f)] = lease[mine(f)] :: else fi
	:: added[f] && !got[f] -> add(mine(f), f); answered[mine(f)] = true
	:: !added[f] && !known -> answered[mine(f)] = true /* an error */
	:: else
	fi
}

proctype Process(byte p) {
	byte f, r;
	bool added[FLOWS], got[FLOWS];
next:
	atomic { added[0] = false; added[1] = false; got[0] = false; got[1] = false; f = 0; r = 0 }
	if
	:: atomic { !answered[2 * p] && !answered[2 * p + 1] -> goto together }
	:: atomic { !answered[2 * p] != !answered[2 * p + 1] -> goto alone }
	:: atomic { answered[2 * p] && answered[2 * p + 1] -> goto loop }
	fi;

together: /* The inserts of the group in an order of its own, its claims, and one commit. */
	f = p;
	add_in_group(f);
	f = 1 - f;
	add_in_group(f);
	claim_in_group(0);
	claim_in_group(1);
	if
	:: atomic { true -> commit_of(0, true); commit_of(1, true); release(); goto next }
	:: atomic { lost > 0 -> lost--; commit_of(0, false); commit_of(1, false); release(); goto next }
	MAY_DIE
	fi;

alone: /* A run by itself, which waits for what is in its way. */
	atomic {
		added[0] = false; added[1] = false; got[0] = false; got[1] = false;
		if :: !answered[2 * p] -> f = 0 :: else -> f = 1 fi
	}
	if
	:: atomic { !keyLock[f] && waits[f] != NONE -> answered[mine(f)] = true; goto next } /* it has the one that waits */
	:: atomic { !keyLock[f] && waits[f] == NONE -> keyLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { !claimLock[f] -> claimLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { slot[f] == NONE -> grant(mine(f), f); answered[mine(f)] = true; has[4 * p + mine(f)] = lease[mine(f)]; release(); goto next }
	:: atomic { slot[f] == NONE && lost > 0 -> lost--; grant(mine(f), f); answered[mine(f)] = true; release(); goto next }
	:: atomic { slot[f] != NONE -> release() } /* the rollback takes the run, too */
	MAY_DIE
	fi;
	if
	:: atomic { !keyLock[f] && waits[f] != NONE -> answered[mine(f)] = true; goto next }
	:: atomic { !keyLock[f] && waits[f] == NONE -> add(mine(f), f); answered[mine(f)] = true; goto next }
	MAY_DIE
	fi;

loop: /* It works what it has, and claims what waits. */
	if
	:: atomic { has[4 * p] != NONE -> r = 0 }
	:: atomic { has[4 * p + 1] != NONE -> r = 1 }
	:: atomic { has[4 * p + 2] != NONE -> r = 2 }
	:: atomic { has[4 * p + 3] != NONE -> r = 3 }
	:: atomic { has[4 * p] == NONE && has[4 * p + 1] == NONE && has[4 * p + 2] == NONE && has[4 * p + 3] == NONE ->
		if
		:: state[0] == pending -> r = 0; goto claim
		:: state[1] == pending -> r = 1; goto claim
		:: state[2] == pending -> r = 2; goto claim
		:: state[3] == pending -> r = 3; goto claim
		:: quiet && answered[0] && answered[1] && answered[2] && answered[3] -> goto quit
		fi }
	fi;
	f = r % 2;
	if
	:: atomic { true ->
		if
#ifdef NO_LEASE
		:: state[r] == in_progress ->
#else
		:: state[r] == in_progress && live(p, r) ->
#endif
			assert(live(p, r));             /* never an end under an old lease */
			state[r] = success; counted[r]++; lapsed[r] = false; slot[f] = NONE
		:: else
		fi;
		has[4 * p + r] = NONE; goto next }
	MAY_DIE
	fi;

claim:
	f = r % 2;
	if
	:: atomic { !claimLock[f] -> claimLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { state[r] == pending && slot[f] == NONE -> grant(r, f); has[4 * p + r] = lease[r]; release(); goto next }
	:: atomic { state[r] != pending || slot[f] != NONE -> release(); goto next }
	MAY_DIE
	fi;
quit:
	left--
}

#define LAPSE(r) \
	:: atomic { lapses > 0 && state[r] == in_progress && !lapsed[r] -> lapses--; lapsed[r] = true } \
	:: atomic { state[r] == in_progress && !lapsed[r] && !live(0, r) && !live(1, r) -> lapsed[r] = true } \
	:: atomic { lapsed[r] && state[r] == in_progress -> state[r] = pending; lapsed[r] = false; slot[(r) % 2] = NONE }

#define ONCE(r) assert(state[r] == absent && counted[r] == 0 || state[r] == success && counted[r] == 1)

/* Leases lapse, and runs are put back. */
proctype World() {
	do
	:: atomic { left == 0 -> break }
	LAPSE(0)
	LAPSE(1)
	LAPSE(2)
	LAPSE(3)
	od;
	ONCE(0); ONCE(1); ONCE(2); ONCE(3);
#if KILLS == 0 && LOST == 0
	assert(counted[0] + counted[2] >= 1);  /* each call has a run, of its own or another's */
	assert(counted[1] + counted[3] >= 1)
#endif
}

init {
	atomic { run Process(0); run Process(1); run World() }
}
