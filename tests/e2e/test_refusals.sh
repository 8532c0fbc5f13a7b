# What a wrong job, and a model that is not served, get.
. "$(dirname "$0")/lib.sh"

make_parts 3
job "rounds: 2" "model: {new: mlp:784-16-10}"
daemon
fleet 3

# An unknown key: file, line, column and the nearest one.
sed 's/^batch: 32/bach: 32/' "$tmp/job.yaml" >"$tmp/typo.yaml"
expect_code 2 tributaryd start "$tmp/typo.yaml"
expect_text "typo.yaml:7:1"
expect_text "batch"

# A bad value.
expect_code 2 tributaryd start "$tmp/job.yaml" --optimiser-lr 0

# A model that does not fit the data.
expect_code 3 tributaryd start "$tmp/job.yaml" --model-new mlp:100-10

# A folder instead of a job; a wrong file, and a right one too early, instead of
# what leads a client elsewhere.
expect_code 2 tributaryd start "$tmp/parts"
expect_text "parts: is a folder, not a file"
expect_code 2 tributary move "$tmp/parts" --home "$tmp/client-00.home"
expect_text "parts: is a folder, not a file"
for wrong in "$tmp/job.yaml" "$TRIBUTARY_DIR/certificate" /dev/null; do
    expect_code 3 tributary move "$wrong" --home "$tmp/client-00.home"
    expect_text "$wrong: is not a file that \`tributaryd place\` wrote"
done
tributaryd place "$tmp/here.move" --root-key "$TRIBUTARY_DIR/keys/root.key" \
    >/dev/null
expect_code 8 tributary move "$tmp/here.move" --home "$tmp/client-00.home"
expect_text "tributary runs in this folder already"
expect_text "end it, move, and start it again"

# More than the disk holds: said before it starts, unless one insists.
big="--model-new mlp:784-4096-4096-10 --cohort-target 40000 --data-set sounds"
# shellcheck disable=SC2086
expect_code 1 tributaryd start "$tmp/job.yaml" $big
expect_text "free some space (tributaryd gc), lower cohort.target"
# shellcheck disable=SC2086
tributaryd start "$tmp/job.yaml" $big --force >/dev/null
tributaryd cancel >/dev/null

# Data that nobody offers: the run waits, says for what, and can be cancelled.
tributaryd start "$tmp/job.yaml" --data-set sounds >/dev/null
until_ok 10 sh -c "tributaryd status | grep -q sounds"
expect_code 8 tributaryd start "$tmp/job.yaml"
tributaryd cancel >/dev/null
expect_code 130 tributaryd watch
expect_text cancelled

# After that a good job runs; its model is not served.
tributaryd start "$tmp/job.yaml" >/dev/null
tributaryd watch >/dev/null
expect_code 7 tributary predict small "$tmp/held-out" --remote --count 1 \
    --home "$tmp/client-00.home"
expect_text not-served
expect_code 4 tributary pull smell --home "$tmp/client-00.home"
expect_code 4 tributary predict smell "$tmp/held-out" \
    --home "$tmp/client-00.home"

# A guard that asks for too much.
tributaryd start "$tmp/job.yaml" --after-prune-kind unstructured \
    --after-prune-amount 0.99 --after-guard-max-drop 0.001 >/dev/null
expect_code 7 tributaryd watch
expect_text accuracy

# Nothing stays of what came to nothing: of a model that did not fit, of one
# that its guard refused, of a round that was cancelled while its result waited
# for test data. What no row names would be seen without the daemon.
nothing_stays() {
    tributaryd gc >/dev/null
    kill "${pid[daemon]}"
    wait "${pid[daemon]}" || fail "the daemon ended with $?"
    unset 'pid[daemon]'
    expect_code 0 tributaryd gc --dry-run
    expect_text "would free 0 B in 0 files"
}
nothing_stays
daemon
tributaryd start "$tmp/job.yaml" --rounds 200 >/dev/null
until_ok 60 sh -c "tributaryd status --json | grep -q '\"round\": [2-9]'"
kill_hard daemon
mv "$tmp/held-out" "$tmp/away"
daemon
until_ok 60 sh -c "tributaryd status | grep -q 'held-out'"
tributaryd cancel >/dev/null
expect_code 130 tributaryd watch
expect_text cancelled
nothing_stays
