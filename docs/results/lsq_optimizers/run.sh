#!/usr/bin/env bash
# Runs the study `lsq_optimizers`: run.sh RESULTS DATA [BLOCK ...], all three blocks where none is named.
#
# First the starts of every board, which are small and never made twice; then board by board. What is recorded counts,
# so that it may be cut off anywhere: the same command goes on.
set -uo pipefail
results=$1 data=$2
shift 2
boards="mnist_finetuned fashion_finetuned espcn_finetuned mnist_scratch fashion_scratch fashion_bn_scratch mnist_2bit fashion_2bit"
starts="mnist_finetuned fashion_finetuned espcn_finetuned"

study() {
  nice -n 19 tune-qat run "lsq_optimizers_$2" --results "$1" --data-dir "$data" --no-progress "${@:3}"
}

for block in "${@:-1 2 3}"; do
  for number in $block; do
    for board in $starts; do
      # Two starts, their two worsened copies, and at most two trials of arms; 4 is the exit code where a budget ends.
      study "$results" "${board}_$number" --trial-budget 6 || [ $? = 4 ] || exit 1
    done
    for board in $boards; do
      study "$results" "${board}_$number" || exit 1
    done
    # With the same starts, in a folder of its own: it is the same study by name, so that its seeds are the same.
    [ -e "$results-tpe" ] || cp -r "$results" "$results-tpe"
    for board in tpe_fashion tpe_espcn; do
      study "$results-tpe" "${board}_$number" || exit 1
    done
  done
done
