#!/usr/bin/env bash
# Train h2, the authors' encoder of 24.7 M parameters, on one GPU for a given time:
#   tools/train_h2.sh STORE OUT [HOURS] [PRESET]
# STORE is a folder of python -m pretrain.store, OUT gets speed/ and run/. First the speed is
# measured (200 steps), then as many steps as fit in HOURS (8) are trained, the learning rate's
# decay included, and the weights are OUT/run/weights.safetensors. Killed and started again, the
# run goes on; the time is then that of all its parts. PRESET is default (h2, target updated at
# every step), or slim_bank, wide_bank, ...
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
store=$1 out=$2 hours=${3:-8} preset=${4:-default}
python=${PYTHON:-python3}

train() { "$python" -m pretrain "$store" --preset "$preset" "$@"; }

mkdir -p "$out"
if [ ! -f "$out/steps" ]; then
  train --out "$out/speed" --set optim.steps=200 --set run.log_every=100 --set run.save_minutes=999
  # Of the last line: the first hundred steps also load kernels and choose among them.
  "$python" - "$out/speed/log.jsonl" "$hours" "$preset" > "$out/steps" <<'PYTHON'
import json
import sys

from pretrain.config import read_config

log, hours, preset = sys.argv[1], float(sys.argv[2]), sys.argv[3]
speed = json.loads(open(log).read().splitlines()[-1])["clips_per_second"]
batch = read_config(preset).optim.batch
sys.stderr.write(f"{speed:.0f} crops a second: {speed * hours * 3600:,.0f} in {hours:g} h\n")
print(max(1, int(0.97 * speed * hours * 3600 / batch)))
PYTHON
fi
train --out "$out/run" --set optim.steps="$(cat "$out/steps")"
