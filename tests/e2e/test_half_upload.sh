# One client's update stops half way, held on the wire while the others' are in.
# Whoever is killed then, the blocks that came are used or taken out again.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 1" "model: {new: mlp:784-1000-1000-10}"
# An update is a head and 28 blocks of 256 KB, 7.2 MB.
n_update=7200000
n_block=262160
n_window=4
n_held=3000000
daemon
fleet 2
join client-02
direct=$(tributaryd status --json | json_field endpoint)

# dial ENDPOINT: client-02 finds the coordinator there.
dial() {
    sed -i "s|^endpoint:.*|endpoint: \"$1\"|" \
        "$tmp/client-02.home/federation"
    client client-02
}

# hold: client-02 dials through a relay that stops half way up.
hold() {
    rm -f "$tmp/relay.out"
    relay "$direct" "$n_held" >"$tmp/relay.out" &
    pid[relay]=$!
    until_ok 10 test -s "$tmp/relay.out"
    dial "$(head -n 1 "$tmp/relay.out")"
}

half_way() {
    grep -q held "$tmp/relay.out" &&
        [ "$(tributaryd status --json | json_field accepted)" = 2 ]
}

# bytes_sent: by client-02, in all its lives.
bytes_sent() {
    tributary status --home "$tmp/client-02.home" --json |
        json_field bytes_sent
}

phase() {
    tributaryd status --json | json_field phase
}

# start [FLAG...]: a run, up to the point where the update is half here.
start() {
    tributaryd start "$tmp/job.yaml" "$@" >/dev/null
    until_ok 60 half_way
    same "phase" training "$(phase)"
}

all=$(sim_hash 2)

# The client is killed and comes back: it sends the rest of the same bytes.
hold
start
kill_hard client-02
kill_hard relay
dial "$direct"
tributaryd watch >/dev/null
same "client killed" "$all" "$(network_hash)"
end_well client-02
sent=$(bytes_sent)
echo "sent $sent bytes of an update of $n_update after $n_held"
[ "$sent" -gt 1000000 ] && [ "$sent" -lt $((n_update - n_held + 600000)) ] ||
    fail "sent $sent bytes again"

# The coordinator is killed, with two updates accepted and the third half here:
# it asks for the blocks that it has not.
hold
start
kill_hard daemon
kill -USR1 "${pid[relay]}"
daemon
same "run goes on" 2 "$(tributaryd status --json | json_field accepted)"
tributaryd watch >/dev/null
same "coordinator killed" "$all" "$(network_hash)"
from=$(sed -n 's/.*event=upload_resumed .*client=client-02 from_block=\([0-9]*\) .*/\1/p' \
    "$tmp/daemon.log")
sent=$(($(bytes_sent) - sent))
echo "went on at block ${from:=0}, sent $sent bytes in all"
[ "$from" -ge $((n_held / n_block - n_window)) ] &&
    [ "$from" -le $((n_held / n_block + 1)) ] || fail "went on at block $from"
[ "$sent" -gt "$n_update" ] &&
    [ "$sent" -lt $((n_update + (n_window + 2) * n_block)) ] ||
    fail "sent $sent bytes for an update of $n_update"
kill_hard client-02
kill_hard relay

# The client never comes back: what was added of its update is taken out.
hold
start --cohort-minimum 2 --deadline $((10 * slowness))s
kill_hard client-02
kill_hard relay
tributaryd watch >/dev/null
rm -r "$tmp/parts/client-02"
same "client gone" "$(sim_hash 2 --cohort-minimum 2)" \
    "$(network_hash)"
