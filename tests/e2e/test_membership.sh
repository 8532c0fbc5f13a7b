# Invites: used twice, expired, altered; and a stranger's key.
. "$(dirname "$0")/lib.sh"

make_parts 1
daemon
tributaryd invite client-00 >"$tmp/invite"

# Altered: not even sent.
sed -e 's/A\(.....\)$/B\1/;t' -e 's/.\(.....\)$/A\1/' "$tmp/invite" \
    >"$tmp/altered"
expect_code 3 tributary join "$(cat "$tmp/altered")" --home "$tmp/x.home"

# Used, then used again: the same keys get the same answer, other keys do not.
tributary join - --home "$tmp/client-00.home" <"$tmp/invite" >/dev/null
rm "$tmp/client-00.home/federation"
tributary join - --home "$tmp/client-00.home" <"$tmp/invite" >/dev/null
expect_code 7 tributary join "$(cat "$tmp/invite")" --home "$tmp/other.home"
expect_text invite
expect_code 5 tributary join "$(cat "$tmp/invite")" \
    --home "$tmp/client-00.home"

# Expired.
tributaryd invite late --expires 1s >"$tmp/invite"
sleep 1.2
expect_code 7 tributary join "$(cat "$tmp/invite")" --home "$tmp/late.home"
expect_text expired

# A stranger: a member's folder with transport keys that nobody enrolled.
tributaryd init "$tmp/foreign" >/dev/null
cp -r "$tmp/client-00.home" "$tmp/stranger.home"
cp "$tmp/foreign/keys/curve.key" "$tmp/stranger.home/keys/curve.key"
tributary run --home "$tmp/stranger.home" --data "pictures=$tmp/parts/client-00" \
    >"$tmp/stranger.log" 2>&1 &
pid[stranger]=$!
denied() {
    [ "$(tributaryd status --json | json_field denied)" -gt 0 ]
}
until_ok 10 denied
! grep -q 'event=connected' "$tmp/stranger.log" || fail "a stranger got in"
same "connected" 0 "$(tributaryd status --json | json_field connected)"

# The member himself does get in.
client client-00
until_ok 10 sh -c "tributaryd clients | grep -q connected"

# Labels choose: with nobody eligible the run waits, and status says so in words.
waits() {
    tributaryd status --json | grep -qF -- "$1"
}
same "labels" "client-00: site=lyon tag=a tag=b" \
    "$(tributaryd label client-00 site=lyon tag=b tag=a)"
job "rounds: 1" "model: {new: mlp:784-16-10}" "eligible: [site=paris]"
tributaryd start "$tmp/job.yaml" --cohort-target 1 --cohort-minimum 1 >/dev/null
until_ok 10 waits "0 of 1 connected clients are eligible"
waits "eligible: site=paris" || fail "$(tributaryd status)"
tributaryd label client-00 site=paris >/dev/null
tributaryd watch >/dev/null
# What the client says of itself counts where the operator says nothing.
tributaryd clients | grep -q "site=paris tag=a tag=b .*cpus=" ||
    fail "$(tributaryd clients)"
tributaryd start "$tmp/job.yaml" --cohort-target 1 --cohort-minimum 1 \
    --eligible "memory>=1MB" --eligible "cpus >= 1" >/dev/null
tributaryd watch >/dev/null
tributaryd label client-00 memory=1kB >/dev/null
tributaryd start "$tmp/job.yaml" --cohort-target 1 --cohort-minimum 1 \
    --eligible "memory>=1MB" >/dev/null
until_ok 10 waits "0 of 1 connected clients are eligible"
tributaryd cancel >/dev/null
# An invite's labels; they outlive the daemon.
tributaryd invite labelled --label tag=x --label site=rome >"$tmp/invite"
tributary join - --home "$tmp/labelled.home" <"$tmp/invite" >/dev/null
kill_hard daemon
tributaryd clients --json | grep -q '"labels": "site=rome tag=x"' ||
    fail "$(tributaryd clients --json)"
expect_code 2 tributaryd invite more --label "tag x"
expect_text "KEY=VALUE"

# Two with one key: the newest wins, also over one that is frozen and would hold
# its connection for long.
daemon
kill -STOP "${pid[client-00]}"
cp -r "$tmp/client-00.home" "$tmp/twin.home"
rm -f "$tmp/twin.home/control"
tributary run --home "$tmp/twin.home" --data "pictures=$tmp/parts/client-00" \
    >"$tmp/twin.log" 2>&1 &
pid[twin]=$!
tributaryd start "$tmp/job.yaml" --cohort-target 1 --cohort-minimum 1 \
    >/dev/null
tributaryd watch >/dev/null
grep -q "event=round_over" "$tmp/twin.log" || fail "$(cat "$tmp/twin.log")"
kill_hard client-00
