/*
 * Claims and ends that a process sends together, beside claims, checkpoints and ends that go by
 * themselves. Two flows, with one slot and one run each. A statement for many locks what it can
 * have at once, and leaves out the rest: it waits for nobody. A transaction for one waits for each
 * lock, and takes them in their order: the flow's claims, the run, the checkpoint, the flow.
 * A process that has two groups on their way is like two processes: each group has runs of its own.
 *
 * claim.pml has the protocol of one run with all its batches. Here a run has one batch.
 */

#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef KILLS
#define KILLS 1         /* a process is killed with its open transaction and all its runs */
#endif
#ifndef LOST
#define LOST 1          /* the answer to a commit is lost: that of all its runs */
#endif
#ifndef TICKS
#define TICKS 1         /* a flow is locked for its ticks */
#endif
#ifndef LAPSES
#define LAPSES 1        /* a lease lapses though its worker lives */
#endif

/* Parts of the protocol that may be left out, to see that the model fails without them. */
#ifdef WAITS            /* a statement for many waits for what it finds locked */
#define FREE(lock) true
#define MUST(lock) (!(lock) || (lock) == me)
#else
#define FREE(lock) (!(lock))
#define MUST(lock) true
#endif
#ifdef NO_LEASE         /* the check of the lease number in the end of many */
#define ENDS(f) (state[f] == in_progress)
#else
#define ENDS(f) held(f, my(f))
#endif

#define FLOWS 2
#define NONE 255

mtype = { pending, in_progress, success };

/* What is committed. Run f is that of flow f. */
mtype state[FLOWS] = pending;
byte lease[FLOWS], seq[FLOWS];
bool lapsed[FLOWS];
byte written[FLOWS];    /* batches in the target */
byte counted[FLOWS];    /* outcomes that the flow has noted */

/* The transaction that has locked it, or 0. */
byte claimLock[FLOWS], runLock[FLOWS], checkpointLock[FLOWS], flowLock[FLOWS];

/* What the processes know: the lease number under which each works a run, or NONE. */
byte has[4] = NONE;     /* process p, flow f: 2p+f */
byte kills = KILLS, lost = LOST, lapses = LAPSES, ticks = TICKS, left = PROCESSES;

#define done (state[0] == success && state[1] == success)
#define held(f, l) (state[f] == in_progress && lease[f] == (l))
#define me (p + 1)
#define my(f) has[2 * p + f]
#define live(q, f) (has[2 * (q) + f] != NONE && held(f, has[2 * (q) + f]))
#define worked(f) (live(0, f) || live(1, f))

inline release() {
	k = 0;
	do
	:: k < FLOWS ->
		if :: claimLock[k] == me -> claimLock[k] = 0 :: else fi;
		if :: runLock[k] == me -> runLock[k] = 0 :: else fi;
		if :: checkpointLock[k] == me -> checkpointLock[k] = 0 :: else fi;
		if :: flowLock[k] == me -> flowLock[k] = 0 :: else fi;
		k++
	:: else -> break
	od;
	k = 0
}

#define MAY_DIE :: atomic { kills > 0 -> kills--; release(); my(0) = NONE; my(1) = NONE; goto fresh }

/* What a claim does to a run whose locks it has. */
inline grant(f) {
	assert(state[f] == pending);        /* never a claim of a run that somebody has */
	state[f] = in_progress; lease[f]++; lapsed[f] = false; seq[f]++
}

/* What is locked is left out. */
inline lock_claims(f) {
	atomic { MUST(claimLock[f]) || !got[f] ->
		got[f] = got[f] && FREE(claimLock[f]);
		if :: got[f] -> claimLock[f] = me :: else fi }
}

inline lock_for_claim(f) {
	atomic { MUST(runLock[f]) || !got[f] ->
		got[f] = got[f] && state[f] == pending && FREE(runLock[f]);
		if :: got[f] -> runLock[f] = me :: else fi }
	atomic { MUST(checkpointLock[f]) || !got[f] ->
		got[f] = got[f] && FREE(checkpointLock[f]);
		if :: got[f] -> checkpointLock[f] = me :: else fi }
}

inline lock_for_end(f) {
	atomic { MUST(runLock[f]) || !got[f] ->
		if /* what the claim has lost is answered so */
		:: got[f] && FREE(runLock[f]) && !ENDS(f) -> got[f] = false; my(f) = NONE; sent[f] = false
		:: else
		fi;
		got[f] = got[f] && FREE(runLock[f]);
		if :: got[f] -> runLock[f] = me :: else fi }
	atomic { MUST(flowLock[f]) || !got[f] ->
		got[f] = got[f] && FREE(flowLock[f]);
		if :: got[f] -> flowLock[f] = me :: else fi }
}

inline finish(f) {
	assert(held(f, my(f)));             /* never an end under an old lease */
	state[f] = success; counted[f]++
}

inline take(f) { my(f) = lease[f]; s[f] = seq[f] }


/* A process works both flows, each as soon as it can have it. */
proctype Process(byte p) {
	byte k, f, s[FLOWS];
	bool got[FLOWS], sent[FLOWS];
fresh:
	atomic { got[0] = false; got[1] = false; sent[0] = false; sent[1] = false; f = 0; s[0] = 0; s[1] = 0 }
next:
	if
	:: atomic { my(0) == NONE && my(1) == NONE && done -> goto quit }
	:: atomic { my(0) == NONE && my(1) == NONE && (state[0] == pending || state[1] == pending) -> goto together }
	:: atomic { my(0) != NONE || my(1) != NONE -> goto work }
	fi;

together: /* The claim of many: the locks of the claims, the rows, and the commit of all. */
	got[0] = (state[0] == pending); got[1] = (state[1] == pending);
	f = (p == 0 -> 0 : 1); /* each finds them in an order of its own */
	lock_claims(f);
	f = 1 - f;
	lock_claims(f);
	f = 1 - f;
	lock_for_claim(f);
	f = 1 - f;
	lock_for_claim(f);
	if
	:: !got[0] && !got[1] -> atomic { release(); goto alone }
	:: else
	fi;
	if
	:: atomic { true ->
		if :: got[0] -> grant(0); take(0) :: else fi;
		if :: got[1] -> grant(1); take(1) :: else fi;
		release(); goto next }
	:: atomic { lost > 0 -> lost--; /* the answer of all is lost: nobody knows that they are claimed */
		if :: got[0] -> grant(0) :: else fi;
		if :: got[1] -> grant(1) :: else fi;
		release(); goto fresh }
	MAY_DIE
	fi;

alone: /* The claim of one, which waits. */
	if
	:: atomic { state[0] == pending -> f = 0 }
	:: atomic { state[1] == pending -> f = 1 }
	:: atomic { state[0] != pending && state[1] != pending -> goto next }
	fi;
	if
	:: atomic { !claimLock[f] -> claimLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { !runLock[f] -> if :: state[f] != pending -> release(); goto next :: else -> runLock[f] = me fi }
	MAY_DIE
	fi;
	if
	:: atomic { !checkpointLock[f] -> checkpointLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { true -> grant(f); take(f); release(); goto next }
	:: atomic { lost > 0 -> lost--; grant(f); release(); goto fresh }
	MAY_DIE
	fi;

work: /* The batch of each run that it has, in a transaction of its own. */
	atomic {
		if
		:: my(0) != NONE && !sent[0] -> f = 0
		:: my(1) != NONE && !sent[1] -> f = 1
		:: (my(0) == NONE || sent[0]) && (my(1) == NONE || sent[1]) -> goto ends
		fi
	}
	if
	:: atomic { !runLock[f] -> if :: !held(f, my(f)) -> my(f) = NONE; goto next :: else -> runLock[f] = me fi }
	MAY_DIE
	fi;
	if
	:: atomic { !checkpointLock[f] -> if :: seq[f] != s[f] -> release(); my(f) = NONE; goto next :: else -> checkpointLock[f] = me fi }
	MAY_DIE
	fi;
	if
	:: atomic { true ->
		assert(held(f, my(f)));             /* never a commit under an old lease */
		if :: written[f] == 0 -> written[f]++ :: else fi; /* the cursor says that it is there */
		seq[f]++; s[f]++; lapsed[f] = false; sent[f] = true; release(); goto work }
	MAY_DIE
	fi;

ends: /* The end of many: those of which it can have the run and the flow at once. */
	got[0] = (my(0) != NONE); got[1] = (my(1) != NONE);
	f = (p == 0 -> 0 : 1);
	lock_for_end(f);
	f = 1 - f;
	lock_for_end(f);
	if
	:: !got[0] && !got[1] -> atomic { release(); goto endAlone }
	:: else
	fi;
	if
	:: atomic { true ->
		if :: got[0] -> finish(0); my(0) = NONE; sent[0] = false :: else fi;
		if :: got[1] -> finish(1); my(1) = NONE; sent[1] = false :: else fi;
		lapsed[0] = lapsed[0] && state[0] == in_progress; lapsed[1] = lapsed[1] && state[1] == in_progress;
		release(); goto next }
	:: atomic { lost > 0 -> lost--; /* it tries again, and finds that nothing is left to end */
		if :: got[0] -> finish(0) :: else fi;
		if :: got[1] -> finish(1) :: else fi;
		lapsed[0] = lapsed[0] && state[0] == in_progress; lapsed[1] = lapsed[1] && state[1] == in_progress;
		release(); goto ends }
	MAY_DIE
	fi;

endAlone: /* The end of one, which waits: first for the run, then for the flow. */
	atomic {
		if
		:: my(0) != NONE -> f = 0
		:: my(1) != NONE -> f = 1
		:: my(0) == NONE && my(1) == NONE -> goto next
		fi
	}
	if
	:: atomic { !runLock[f] -> if :: !held(f, my(f)) -> my(f) = NONE; sent[f] = false; goto next :: else -> runLock[f] = me fi }
	MAY_DIE
	fi;
	if
	:: atomic { !flowLock[f] -> flowLock[f] = me }
	MAY_DIE
	fi;
	if
	:: atomic { true -> finish(f); lapsed[f] = false; my(f) = NONE; sent[f] = false; release(); goto next }
	MAY_DIE
	fi;
quit:
	left--
}

/* Puts a run back whose lease has lapsed: it locks the run. Another transaction locks a flow for
 * its ticks, and lets it go. Leases lapse. */
#define LAPSE(f) \
	:: atomic { lapses > 0 && state[f] == in_progress && !lapsed[f] -> lapses--; lapsed[f] = true } \
	:: atomic { state[f] == in_progress && !lapsed[f] && !worked(f) -> lapsed[f] = true } \
	:: atomic { lapsed[f] && state[f] == in_progress && !runLock[f] -> state[f] = pending; lapsed[f] = false } \
	:: atomic { ticks > 0 && !flowLock[f] -> ticks--; flowLock[f] = NONE } \
	:: atomic { flowLock[f] == NONE -> flowLock[f] = 0 }

proctype World() {
	do
	:: atomic { left == 0 && flowLock[0] != NONE && flowLock[1] != NONE -> break }
	LAPSE(0)
	LAPSE(1)
	od;
	assert(written[0] == 1 && written[1] == 1);  /* each batch once */
	assert(counted[0] == 1 && counted[1] == 1)   /* each outcome once */
}

init {
	atomic {
		byte i = 0;
		do
		:: i < PROCESSES -> run Process(i); i++
		:: else -> break
		od;
		run World()
	}
}

#ifdef LIVE
ltl ends { <> (done) }
#endif
