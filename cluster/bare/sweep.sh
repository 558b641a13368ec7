#!/usr/bin/env bash
# A sweep on this machine and others that it reaches by SSH without a password: no Docker, no batch system, and nothing
# that stays when it ends. All have a shared folder, and in it the environment of `sweeps`. In that environment, in a
# shared folder, on the machine that is to be the head (in tmux, or after nohup):
#   HOSTS="node-2 node-3" bash cluster/bare/sweep.sh liu2024 --storage /mnt/shared/runs --set …
# The arguments are those of `sweeps run`; the same command resumes. All CPUs and GPUs of the machines are used.
# shellcheck disable=SC2034,SC1091  # the other file reads them
read -ra hosts <<<"$HOSTNAME ${HOSTS:?names of the other machines}"
cpus='' peer=${hosts[1]#*@}
on_others() {
    local host
    for host in "${hosts[@]:1}"; do
        # With a terminal, so that what runs there ends with this.
        ssh -tt -o BatchMode=yes "$host" "bash $(printf %q "$1")" </dev/null &
    done
    trap 'kill $(jobs -p)' TERM
    wait
}
source "$(dirname "${BASH_SOURCE[0]}")/../slurm/sweep.sbatch" "$@"
