#!/usr/bin/env bash
# Checks claim.pml, group.pml and start.pml with spin in several settings. Also checks that the model fails when a part of
# the protocol is left out. It needs spin and gcc, 2 GB of memory, and a few minutes.
set -euo pipefail
cd "$(dirname "$0")"
for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "$tool is missing: apt-get install spin gcc"; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp claim.pml group.pml start.pml "$work"
cd "$work"

# search NAME WANT MODE OPTIONS... searches all states. WANT is "holds", or what spin must find.
search() {
	local name=$1 want=$2 mode=$3 flags=-DSAFETY run=() found
	shift 3
	if [[ $mode == live ]]; then
		set -- -DLIVE "$@"
		flags=-DNFAIR=3 run=(-a -f)
	fi
	spin "$@" -a "$model" >spin.log || { cat spin.log; exit 1; }
	gcc -w -O2 -DCOLLAPSE -DMEMLIM=2000 $flags -o pan pan.c
	./pan -m100000 "${run[@]}" >pan.log || true
	found=$(sed -n 's/^pan:1: \(.*\) (at depth.*/\1/p' pan.log)
	# A search that ran out of memory or depth has proved nothing. Its log says so.
	if grep -q 'errors: 0' pan.log && ! grep -Eq 'not completed|too small|out of memory' pan.log; then
		found=holds
	fi
	printf '%-46s %9s states %6s s  %s\n' "$name" "$(sed -n 's/ *\([0-9.e+]*\) states, stored.*/\1/p' pan.log)" \
		"$(sed -n 's/.*elapsed time \([0-9.]*\).*/\1/p' pan.log)" "$found"
	[[ $found == *"$want"* ]] || { echo "wanted: $want; spin $* says:"; cat pan.log; exit 1; }
}

model=claim.pml
few=(-DSLICES=0 -DBREAKS=0)
echo "Never a violation, never a deadlock:"
search "two runs of a flow" holds safe "${few[@]}"
search "two runs, slices" holds safe -DBREAKS=0 -DLOST=0
search "two runs, one is cancelled" holds safe "${few[@]}" -DLOST=0 -DCANCELS=1
search "everything at once, one run" holds safe -DRUNS=1 -DCANCELS=1
search "three workers, two kills" holds safe "${few[@]}" -DRUNS=1 -DWORKERS=3 -DKILLS=2 -DLOST=0
search "three batches, two kills, two lapses" holds safe "${few[@]}" -DRUNS=1 -DBATCHES=3 -DKILLS=2 -DLAPSES=2
search "a sink elsewhere, two runs" holds safe "${few[@]}" -DFENCED
search "a sink elsewhere, slices and breaks" holds safe -DFENCED -DRUNS=1
echo "Every run ends, as long as every process keeps running:"
search "one run" holds live "${few[@]}" -DRUNS=1
search "one run, slices and breaks" holds live -DRUNS=1 -DBATCHES=1
search "two runs" holds live "${few[@]}" -DLOST=0
search "one run, cancelled" holds live "${few[@]}" -DRUNS=1 -DCANCELS=1
search "a sink elsewhere" holds live "${few[@]}" -DRUNS=1 -DFENCED

echo "What happens without a part of the protocol:"
search "without the index on the slot" "state[0]" safe "${few[@]}" -DNO_INDEX
search "without the lease number" "lease[r]" safe "${few[@]}" -DNO_LEASE
search "without lease and sequence number" "written==c" safe "${few[@]}" -DNO_LEASE -DLOOSE -DNO_SEQ
search "the sequence number alone doubles nothing" holds safe "${few[@]}" -DNO_LEASE -DLOOSE
search "the lease number alone" holds safe "${few[@]}" -DNO_SEQ
search "not looking again, nor the sequence number" "written==c" safe "${few[@]}" -DNO_REREAD -DNO_SEQ
search "a sink elsewhere without fence" "written==c" safe "${few[@]}" -DFENCED -DNO_FENCE
search "a sink elsewhere, cursor not brought up" "written==c" safe "${few[@]}" -DFENCED -DNO_CATCH_UP
search "without a rescue" "acceptance cycle" live "${few[@]}" -DRUNS=1 -DNO_RESCUE
search "without an end to silent transactions" "acceptance cycle" live "${few[@]}" -DRUNS=1 -DNO_BREAK

model=group.pml
echo "Claims and ends of many runs beside those of one:"
search "answers are lost" holds safe -DLAPSES=0 -DKILLS=0 -DLOST=2
search "a process is killed, an answer is lost" holds safe -DLAPSES=0
search "a lease lapses, an answer is lost" holds safe -DKILLS=0
search "a process is killed, a lease lapses" holds safe -DLOST=0
search "an end of many without the lease number" "lease[0]" safe -DNO_LEASE -DLOST=0
search "a statement for many that waits" "invalid end state" safe -DWAITS -DLOST=0 -DKILLS=0 -DLAPSES=0

model=start.pml
echo "Runs that are added and claimed together beside those that are started by themselves:"
search "a kill, a lost answer, a lapsed lease" holds safe
search "two kills" holds safe -DKILLS=2
search "two lost answers" holds safe -DLOST=2
search "a group that waits for others' runs for ever" "invalid end state" safe -DNO_TIMEOUT -DKILLS=0 -DLOST=0 -DLAPSES=0
search "claims that do not exclude each other" "slot[0]" safe -DNO_CLAIM_LOCK -DKILLS=0 -DLOST=0
search "an end without the lease number" "lease[r]" safe -DNO_LEASE -DKILLS=0 -DLOST=0
