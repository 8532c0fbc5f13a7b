# Several jobs over one fleet of real processes: side by side and in the queue,
# paused, resumed and cancelled with kill -9 after each answer, and one that
# starts from a registered version.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 2" "model: {new: mlp:784-16-10}"

# state NAME: of a job, newest of its name.
state() {
    tributaryd jobs --json | tr -d '\n ' | tr '{' '\n' |
        sed -n "s/.*\"job\":\"$1\".*\"state\":\"\([a-z]*\)\".*/\1/p" | tail -n 1
}
is() {
    [ "$(state "$1")" = "$2" ]
}
shows() {
    tributaryd status | grep -qF -- "$1"
}
start() {
    local name=$1
    shift
    tributaryd start "$tmp/job.yaml" --name "$name" "$@"
}
restart() {
    kill_hard daemon
    daemon --jobs-running 2
}

daemon --jobs-running 2
fleet 3

# What each is alone, and what both are side by side over the same clients.
start alone >/dev/null
alone=$(network_hash)
start one --rounds 200 >/dev/null
start two --rounds 200 >/dev/null
start small >"$tmp/out"
expect_text "queued small"
expect_text "number 1 in the queue: jobs.running"
is small queued || fail "small is $(state small)"
shows "number 1 in the queue behind 2 running jobs" || fail "$(tributaryd status)"
expect_code 8 start one
expect_text "job one is queued or running already"

# A pause outlives kill -9, and makes room for the next in the queue.
tributaryd pause one --why "new disks" >"$tmp/out"
expect_text "paused one"
restart
is one paused || fail "one is $(state one)"
until_ok 30 shows "the operator, who paused it at" # its open round ends first
shows "new disks: tributaryd resume one" || fail "$(tributaryd status)"
tributaryd watch small >"$tmp/out" 2>&1
expect_text "done: small is registered"
same "beside another job" "$alone" \
    "$(tributaryd watch small --json |
        sed -n 's/.*"model": *"\([0-9a-f]*\)".*/\1/p' | tail -n 1)"

# So do a cancel and a resume; the others go on.
expect_code 2 tributaryd cancel
expect_text "several runs are going on: name one"
tributaryd cancel two --why "a wrong job" >/dev/null
restart
until_ok 20 is two cancelled
is one paused || fail "one is $(state one)"
tributaryd resume one >/dev/null
restart
is one running || fail "one is $(state one)"
expect_code 5 tributaryd resume one
expect_text "the run of one is not paused"
until_ok 60 shows " of 200, attempt"
tributaryd cancel >"$tmp/out" # the only one: no name needed
expect_text "cancelled one"
until_ok 20 is one cancelled
expect_code 4 tributaryd pause one
expect_text "the run of one is over (cancelled)"

# From a registered version: it begins where that one ended.
accuracy() {
    tributaryd watch "$1" --json | json_field accuracy
}
start further --rounds 1 --from small@1 >/dev/null
tributaryd watch further >/dev/null
awk -v a="$(accuracy further)" -v b="$(accuracy small)" \
    'BEGIN { exit !(a > b) }' || fail "it did not begin where small ended"
expect_code 4 start again --from small@9
expect_text "there is no version small@9 to start from"
expect_code 2 start again --from "a b"
expect_text "is not NAME or NAME@SEQUENCE"
expect_code 2 start again --from small@
expect_text "\"small@\" is not NAME or NAME@SEQUENCE"
for event in 'run_paused run=[0-9a-f]{32} why="new disks"' \
    'run_resumed run=[0-9a-f]{32}' 'run_cancelled run=[0-9a-f]{32} why='; do
    grep -qE "event=$event" "$tmp/daemon.log" || fail "no $event in the log"
done
expect_code 4 tributaryd pause none
expect_text "no run \"none\": \`tributaryd jobs\` lists them"

# From a version that ends in a softmax: trained is what stands before it, and
# what is registered has one again, not two.
softmaxes() {
    tributaryd export "$1" "$tmp/$1.onnx" >/dev/null
    tributary model inspect "$tmp/$1.onnx" --json |
        grep -o '"op": *"Softmax"' | wc -l
}
job "rounds: 1" "model: {new: mlp:784-16-10}" "after: {softmax: true}"
start soft >/dev/null
tributaryd watch soft >/dev/null
start softer --from soft@1 >/dev/null
tributaryd watch softer >/dev/null
for name in soft softer; do
    [ "$(softmaxes $name)" = 1 ] || fail "$name has $(softmaxes $name)"
done
awk -v a="$(accuracy softer)" -v b="$(accuracy soft)" \
    'BEGIN { exit !(a > b) }' || fail "it did not begin where soft ended"

# Reading verbs work with the daemon down.
start later --rounds 200 >/dev/null
kill_hard daemon
shows "the daemon, which does not run" || fail "$(tributaryd status)"
is small "done" || fail "small is $(state small)"
