# order.sh BIN SANITIZERS SYNC_ORDER WHO: true processes under sync_order.c, which
# says where something is told, or takes the place of another, before it is
# durable: a coordinator from its first file through two runs, with a round that
# SIGTERM cut, to a gc, a backup and a restore, and its clients.
. "$(dirname "$0")/lib.sh"

make_data
n_clients=1
job_file alone 2 "rounds: 2"
n_clients=2
job_file small 1 "rounds: 1"

# ordered NAME FOLDER COMMAND...: what it breaks goes to $tmp/NAME.order.
ordered() {
    ORDER_LOG=$tmp/$1.order ORDER_DIR=$2 LD_PRELOAD=$preload exec "${@:3}"
}
start_daemon() {
    (ordered daemon "$TRIBUTARY_DIR" tributaryd run --keep-updates \
        --keep-checkpoints 1 >>"$tmp/daemon.log" 2>&1) &
    pid[daemon]=$!
    until_ok 20 running
}
start_client() {
    (ordered "$1" "$tmp/$1.home" tributary run --home "$tmp/$1.home" \
        --data "numbers=$tmp/$1.csv" >>"$tmp/$1.log" 2>&1) &
    pid[$1]=$!
}
enrol() {
    tributaryd invite "$1" >"$tmp/invite"
    (ordered join "$tmp/$1.home" tributary join - --home "$tmp/$1.home" \
        <"$tmp/invite" >/dev/null)
    start_client "$1"
}
all_here() {
    [ "$(tributaryd status --json | json_field connected)" = $n_clients ]
}
one_is_in() {
    [ "$(tributaryd status --json | json_field accepted)" = 1 ]
}

(ordered init "$TRIBUTARY_DIR" tributaryd init "$TRIBUTARY_DIR" >/dev/null)
start_daemon
# One uploads after the other: nothing else is on its way into the spool when a
# receipt leaves.
enrol client-00
tributaryd start "$tmp/alone.yaml" >/dev/null
tributaryd watch >/dev/null
enrol client-01
until_ok 20 all_here
kill -STOP "${pid[client-01]}"
tributaryd start "$tmp/small.yaml" >/dev/null
until_ok 60 one_is_in
end_well daemon
grep -q "result=sealed .* updates=1" "$tmp/daemon.log" || fail "no checkpoint"
start_daemon
kill -CONT "${pid[client-01]}"
tributaryd watch >/dev/null
tributaryd gc >/dev/null
end_well daemon
for name in client-00 client-01; do
    end_well "$name"
done
mkdir "$tmp/copies"
(ordered backup "$tmp/copies" tributaryd backup "$TRIBUTARY_DIR" \
    "$tmp/copies/one" >/dev/null)
(ordered restore "$tmp/copies" tributaryd restore "$tmp/copies/one" \
    "$tmp/copies/two" --master-key "$TRIBUTARY_DIR.master-key" >/dev/null)

sed '/^checked/!d' "$tmp"/*.order | awk '{ r += $2; h += $4; n += $6 }
    END { printf "order: %d receipts, %d heads, %d renames\n", r, h, n
          exit !(r >= 4 && h >= 8 && n > 20) }' ||
    fail "too little was looked at"
# A client's copy of a model is no record: it is held against its hash each time.
breaks=$(grep -hv '^checked\|client-0[01].home/blobs/' "$tmp"/*.order |
    sort | uniq -c) || true
[ -z "$breaks" ] || fail "broken: $breaks"
