/*
 * How a run is claimed, worked and taken over, as the database sees it. See ARCHITECTURE.md,
 * "How that is shown". check.sh has the settings with which it is checked.
 *
 * A transaction takes the locks of its statements in their order. When it commits, others see
 * all its changes at once. Its statements check their conditions while the row is locked.
 * Workers are killed, stopped and cut off between any two steps.
 */

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef RUNS
#define RUNS 2          /* of one flow */
#endif
#ifndef BATCHES
#define BATCHES 2       /* of the source, over all runs */
#endif

/* How often each of these happens, at any moment. */
#ifndef KILLS
#define KILLS 1         /* a worker or a rescuer is killed */
#endif
#ifndef LAPSES
#define LAPSES 1        /* a lease lapses though its worker lives */
#endif
#ifndef LOST
#define LOST 1          /* a commit goes through, and its answer is lost */
#endif
#ifndef BREAKS
#define BREAKS 1        /* the server breaks the transaction of a live worker */
#endif
#ifndef SLICES
#define SLICES 1        /* a run is handed over or handed back */
#endif
#ifndef CANCELS
#define CANCELS 0       /* somebody cancels a run */
#endif

/* Parts of the protocol that may be left out, to see that the model fails without them. */
#ifdef NO_INDEX         /* the index that allows one run of a flow at a time */
#define SLOT_TAKEN false
#define NONE_IN_PROGRESS true
#else
#define SLOT_TAKEN (slot != NONE)
#define NONE_IN_PROGRESS none_in_progress
#endif
#ifdef NO_LEASE         /* the check of the lease number in a commit */
#define OLD_LEASE false
#else
#define OLD_LEASE (!held(r, my))
#endif
#ifdef NO_SEQ           /* the check of the sequence number in a commit */
#define OLD_SEQ false
#else
#define OLD_SEQ (seq != s)
#endif
#ifdef NO_FENCE         /* the fence in the sink's database */
#define SINK_REFUSES false
#else
#define SINK_REFUSES (sinkFence != fence)
#endif
#ifdef NO_CATCH_UP      /* the catch-up of the cursor with the sink's */
#define CATCH_UP to = c
#else
#define CATCH_UP to = sinkCursor
#endif
#ifdef NO_REREAD        /* reading the run's checkpoint again after a lost answer */
#define REREAD skip
#else
#define REREAD s = seq; c = cursor
#endif
#ifdef NO_BREAK         /* the end of transactions whose worker is silent */
#define CAN_BREAK false
#else
#define CAN_BREAK true
#endif
#ifdef NO_RESCUE
#define CAN_RESCUE false
#else
#define CAN_RESCUE true
#endif

#define NONE 255

mtype = { pending, in_progress, success, cancelled };

/* What is committed. */
mtype state[RUNS] = pending;
byte lease[RUNS];       /* the lease number */
bool lapsed[RUNS];
bool wish[RUNS];        /* somebody wants to cancel the run */
byte slot = NONE;       /* the run in the unique index of those in progress */
byte cursor, seq;       /* the flow's checkpoint */
byte written;           /* batches in the target: 0, 1, ... written-1 */

/* The transaction that has locked it, or 0. Worker w's transaction has the number w+1. If the
 * worker is dead and the server has not noticed yet, ORPHAN is added to that number. */
byte runLock[RUNS], indexLock, checkpointLock;
#define ORPHAN (WORKERS + 1)
#define RESCUER (WORKERS + 1)
bool broken[WORKERS + 2]; /* the server has broken it */

/* What the workers' processes know. */
byte works[WORKERS] = NONE; /* the run that it works */
byte claimed[WORKERS];      /* the lease number of that run */
bool told[WORKERS];         /* its renewal found that the run is lost or to be cancelled */

byte left = WORKERS; /* workers that have not seen the end */
byte kills = KILLS, lapses = LAPSES, lost = LOST, breaks = BREAKS, slices = SLICES, cancels = CANCELS;

#ifdef FENCED
/* The second database: the fence and the checkpoint beside the rows. */
byte sinkFence, sinkCursor, sinkLock;
#endif

#define over(r) (state[r] == success || state[r] == cancelled)
#if RUNS == 1
#define done over(0)
#define none_in_progress (state[0] != in_progress)
#else
#define done (over(0) && over(1))
#define none_in_progress (state[0] != in_progress && state[1] != in_progress)
#endif

#define held(r, l) (state[r] == in_progress && lease[r] == (l))
#define live(w, r) (works[w] == (r) && held(r, claimed[w]))
#if WORKERS == 2
#define worked(r) (live(0, r) || live(1, r))
#else
#define worked(r) (live(0, r) || live(1, r) || live(2, r))
#endif

/* The locks of transaction t become those of transaction u. If u is 0, they are free. */
inline pass(t, u) {
	k = 0;
	do
	:: k < RUNS -> if :: runLock[k] == t -> runLock[k] = u :: else fi; k++
	:: else -> break
	od;
	if :: indexLock == t -> indexLock = u :: else fi;
	if :: checkpointLock == t -> checkpointLock = u :: else fi;
#ifdef FENCED
	if :: sinkLock == t -> sinkLock = u :: else fi;
#endif
	k = 0
}

/* The transaction of worker w. */
#define me (w + 1)

/* A worker is killed. Its transaction stays open until the server notices. */
#define MAY_DIE  :: atomic { kills > 0 -> kills--; pass(me, me + ORPHAN); goto fresh }
/* The server has broken the transaction; nothing of it is committed. */
#define MAY_BREAK(there)  :: atomic { broken[me] -> broken[me] = false; goto there }
/* The worker's renewal found that it must stop. */
#define MAY_BE_TOLD  :: atomic { told[w] -> goto leave }
#define ok (!broken[me])
#define unanswered (lost > 0)

inline grant() {
	assert(none_in_progress);            /* never two runs of the flow */
	assert(state[r] == pending);
	state[r] = in_progress; slot = r; lease[r]++; lapsed[r] = false; seq++;
	my = lease[r]; s = seq; fence = seq; c = cursor;
	pass(me, 0)
}

inline write() {
	assert(written == c);                /* each batch once, and in order */
	written++
}

inline checkpoint() {
#ifndef LOOSE
	assert(held(r, my));                 /* never a commit under an old lease */
#endif
#ifndef FENCED
	write();
#endif
	cursor = to; seq++; lapsed[r] = false;
	pass(me, 0)
}

inline give_up(as) {
	assert(as != success || cursor == BATCHES);
	state[r] = (as == pending && wish[r] -> cancelled : as);
	slot = NONE; lapsed[r] = false
}

proctype Worker(byte w) {
	byte r, k;
	byte my, s, fence, c; /* lease, sequence number, that of the claim, cursor */
	byte to;              /* the cursor after the batch */
	mtype outcome;
fresh: /* a new process takes its place, or it has no run any more */
	atomic {
		works[w] = NONE; told[w] = false; broken[me] = false;
		r = 0; my = 0; s = 0; fence = 0; c = 0; to = 0; outcome = pending
	}

	/* The claim. Its statements lock the run, the index, and the checkpoint. */
	if
	:: atomic { done -> goto quit }
	:: atomic { state[0] == pending && !runLock[0] && NONE_IN_PROGRESS -> runLock[0] = me }
#if RUNS > 1
	:: atomic { state[1] == pending && !runLock[1] && NONE_IN_PROGRESS -> r = 1; runLock[1] = me }
#endif
	fi;
	if
	:: atomic { ok && !indexLock ->
		if
		:: SLOT_TAKEN -> pass(me, 0); goto fresh
		:: else -> indexLock = me
		fi }
	MAY_BREAK(fresh)
	MAY_DIE
	fi;
	if
	:: atomic { ok && !checkpointLock -> checkpointLock = me }
	MAY_BREAK(fresh)
	MAY_DIE
	fi;
	if
	:: atomic { ok -> grant(); works[w] = r; claimed[w] = my }
	:: atomic { ok && unanswered -> lost--; grant(); goto fresh } /* it does not know that its claim succeeded */
	MAY_BREAK(fresh)
	MAY_DIE
	fi;

begin:
#ifdef FENCED
	/* The claim moves the sink's fence, and our checkpoint catches up with the sink's. */
	if
	:: atomic { !sinkLock ->
		if
		:: sinkFence > fence -> goto fenced
		:: else -> sinkFence = fence; CATCH_UP
		fi }
	MAY_BE_TOLD
	MAY_DIE
	fi;
	if
	:: to != c -> goto commit
	:: else
	fi;
#endif

next:
	if
	:: atomic { c == BATCHES -> outcome = success; goto finish }
	:: atomic { c < BATCHES -> to = c + 1 }
	:: atomic { slices > 0 -> slices--; outcome = pending; goto finish } /* its process stops */
	MAY_BE_TOLD
	MAY_DIE
	fi;
#ifdef FENCED
	/* The batch and its checkpoint, in the sink's database. */
	if
	:: atomic { !sinkLock -> sinkLock = me }
	MAY_BE_TOLD
	MAY_DIE
	fi;
	if
	:: atomic { ok && SINK_REFUSES -> pass(me, 0); goto fenced }
	:: atomic { ok && !SINK_REFUSES -> write(); sinkCursor = to; pass(me, 0) }
	:: atomic { ok && !SINK_REFUSES && unanswered -> lost--; write(); sinkCursor = to; pass(me, 0); goto reclaim }
	MAY_BREAK(reclaim)
	MAY_DIE
	fi;
#endif

commit:
	/* The batch and its checkpoint. The statements lock the run, and the checkpoint. */
	if
	:: atomic { !runLock[r] ->
		if
		:: OLD_LEASE -> goto fresh
		:: else -> runLock[r] = me
		fi }
	MAY_BE_TOLD
	MAY_DIE
	fi;
	if
	:: atomic { ok && !checkpointLock ->
		if
		:: OLD_SEQ -> pass(me, 0); goto fresh
		:: else -> checkpointLock = me
		fi }
	MAY_BREAK(reclaim)
	MAY_DIE
	fi;
	if
	:: atomic { ok -> checkpoint(); s++; c = to;
		if
		:: wish[r] -> outcome = cancelled; goto finish
		:: else -> goto next
		fi }
	:: atomic { ok && unanswered -> lost--; checkpoint(); goto reclaim }
	:: atomic { ok && slices > 0 && !wish[r] -> slices--; checkpoint(); give_up(pending); goto fresh } /* its slice is over */
	:: atomic { ok && slices > 0 && !wish[r] && unanswered -> slices--; lost--; checkpoint(); give_up(pending); goto reclaim }
	MAY_BREAK(reclaim)
	MAY_DIE
	fi;

reclaim: /* It does not know whether its commit took place. */
	if
	:: atomic { !runLock[r] ->
		if
		:: !held(r, my) -> goto fresh
		:: held(r, my) && wish[r] -> outcome = cancelled; goto finish
		:: else -> lapsed[r] = false; REREAD; goto begin
		fi }
	MAY_BE_TOLD
	MAY_DIE
	fi;

#ifdef FENCED
fenced: /* The sink refused the worker. It must be right. */
	atomic { !runLock[r] -> assert(!held(r, my)); goto fresh }
#endif

leave:
	if
	:: atomic { !held(r, my) -> goto fresh }
	:: atomic { held(r, my) -> outcome = cancelled }
	fi;

finish:
	if
	:: atomic { !runLock[r] ->
		if
		:: !held(r, my) -> goto fresh
		:: else -> runLock[r] = me
		fi }
	MAY_DIE
	fi;
	if
	:: atomic { ok -> give_up(outcome); pass(me, 0); goto fresh }
	:: atomic { ok && unanswered -> lost--; give_up(outcome); pass(me, 0); goto finish } /* it tries again */
	MAY_BREAK(finish)
	MAY_BREAK(fresh) /* it has given up trying */
	MAY_DIE
	fi;
quit:
	left--
}

/* Any process looks for runs whose leases have lapsed. It puts them back, or keeps its own. */
proctype Rescuer() {
	byte r, k;
look:
	broken[RESCUER] = false;
	if
	:: atomic { done -> goto quit }
	:: atomic { CAN_RESCUE && lapsed[0] && state[0] == in_progress && !runLock[0] -> r = 0; runLock[0] = RESCUER }
#if RUNS > 1
	:: atomic { CAN_RESCUE && lapsed[1] && state[1] == in_progress && !runLock[1] -> r = 1; runLock[1] = RESCUER }
#endif
	fi;
	if
	:: atomic { !broken[RESCUER] -> give_up(pending); pass(RESCUER, 0) }
	:: atomic { !broken[RESCUER] && worked(r) -> lapsed[r] = false; pass(RESCUER, 0) }
	:: atomic { broken[RESCUER] -> skip }
	:: atomic { kills > 0 -> kills--; pass(RESCUER, RESCUER + ORPHAN) }
	fi;
	goto look;
quit:
	skip
}

/* A lease lapses by accident, or because nobody works the run. */
#define LAPSE(r) \
	:: atomic { lapses > 0 && state[r] == in_progress && !lapsed[r] -> lapses--; lapsed[r] = true } \
	:: atomic { state[r] == in_progress && !lapsed[r] && !worked(r) -> lapsed[r] = true }

/* The renewal skips a locked run, but reports its state. */
#define RENEW(w) \
	:: atomic { works[w] != NONE && live(w, works[w]) && lapsed[works[w]] && !runLock[works[w]] -> lapsed[works[w]] = false } \
	:: atomic { works[w] != NONE && !told[w] && (!live(w, works[w]) || wish[works[w]]) -> told[w] = true }

/* The server ends the transactions of dead workers, and of silent ones. */
#define END(lock) \
	:: atomic { CAN_BREAK && lock > RESCUER -> t = lock; pass(t, 0) } \
	:: atomic { breaks > 0 && lock && lock <= RESCUER -> breaks--; t = lock; broken[t] = true; pass(t, 0) }

#define CANCEL(r) \
	:: atomic { cancels > 0 && !runLock[r] && state[r] == pending -> cancels--; state[r] = cancelled } \
	:: atomic { cancels > 0 && !runLock[r] && state[r] == in_progress -> cancels--; wish[r] = true }

proctype World() {
	byte t, k;
	do
	:: atomic { left == 0 -> break }
	LAPSE(0)
	END(runLock[0])
	CANCEL(0)
#if RUNS > 1
	LAPSE(1)
	END(runLock[1])
	CANCEL(1)
#endif
	RENEW(0)
	RENEW(1)
#if WORKERS > 2
	RENEW(2)
#endif
#ifdef FENCED
	END(sinkLock)
#endif
	od;
	/* The target holds what the cursor says. A sink elsewhere may be one batch ahead of a run
	 * that was cancelled; the next run's claim brings the cursor up to it. */
#ifdef FENCED
	assert(written == sinkCursor && cursor <= written && written <= cursor + 1)
#else
	assert(written == cursor)
#endif
	assert(state[0] != success || cursor == BATCHES)
}

init {
	atomic {
		byte i = 0;
		do
		:: i < WORKERS -> run Worker(i); i++
		:: else -> break
		od;
		run Rescuer();
		run World()
	}
}

#ifdef LIVE
ltl ends { <> (done) } /* every run ends, as long as each process keeps running */
#endif
