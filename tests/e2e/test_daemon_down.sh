#!/usr/bin/env bash
# What reading verbs say without a daemon: of a new folder, and of a folder
# whose daemon has stopped after a run.
. "$(dirname "$0")/lib.sh"

tributaryd init "$TRIBUTARY_DIR" >"$tmp/out"
expect_text "next: tributaryd run"
expect_code 5 tributaryd init "$TRIBUTARY_DIR"
expect_text "is a coordinator's folder already"
expect_code 0 tributaryd status
expect_text "not running"
expect_text "a job: tributaryd start JOB"
expect_code 0 tributaryd clients --json
expect_text "[]"
expect_code 0 tributaryd models
expect_code 4 tributaryd watch
expect_text "no run yet"
expect_code 4 tributaryd replay
expect_text "no run yet"
expect_code 4 tributaryd invite somebody
expect_text "no daemon runs"

make_parts 3
job "rounds: 2" "model: {new: 'mlp:784-16-10'}"
daemon
for name in "$tmp"/parts/*; do
    join "$(basename "$name")"
    client "$(basename "$name")"
done
expect_code 0 tributaryd start "$tmp/job.yaml"
tributaryd watch >"$tmp/live"
end_well daemon

expect_code 0 tributaryd watch
accuracy() { sed -n 's/.*\(accuracy [0-9.]*  loss [0-9.]*\).*/\1/p' "$1"; }
[ "$(accuracy "$tmp/out")" = "$(accuracy "$tmp/live")" ] ||
    fail "watch tells other rounds afterwards: $(cat "$tmp/live" "$tmp/out")"
expect_code 0 tributaryd status
expect_text "small: done"
expect_code 0 tributaryd clients
expect_text "away"
expect_code 0 tributaryd models small
expect_text "fp32"
expect_code 0 tributaryd export small "$tmp/small.onnx"
expect_code 0 tributary model inspect "$tmp/small.onnx"
