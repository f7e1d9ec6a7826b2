#!/usr/bin/env bash
# Environment of Ascend NPUs; sourced by case.sh, and harmless on other machines. What is set already stays as it is.
# CANN is installed by Ascend's toolkit; ASCEND_HOME_PATH names another place than the usual one.
for cann in "${ASCEND_HOME_PATH:-}" /usr/local/Ascend/ascend-toolkit /usr/local/Ascend/cann; do
  if [ -n "$cann" ] && [ -f "$cann/set_env.sh" ]; then
    strictness=$(set +o | grep nounset) && set +u # the toolkit's script reads variables that may not be set
    source "$cann/set_env.sh" || echo "warning: $cann/set_env.sh failed" >&2
    eval "$strictness"
    break
  fi
done
export PYTORCH_NPU_ALLOC_CONF=${PYTORCH_NPU_ALLOC_CONF:-expandable_segments:True} # less fragmented device memory
export TASK_QUEUE_ENABLE=${TASK_QUEUE_ENABLE:-2}                                 # launch of operators beside the host
export CPU_AFFINITY_CONF=${CPU_AFFINITY_CONF:-2}                                 # each process on cores near its device
