#!/bin/bash
# One run on a Slurm cluster: Ray's head on the first node of the allocation, a worker on each other one.
#
#   RUN=/shared/runs/desk sbatch cluster/slurm.sh                        # CPU nodes
#   RUN=/shared/runs/desk sbatch --gpus-per-node=1 cluster/slurm.sh      # with a GPU each
#
# RUN lies on a file system that all nodes share, and so does VENV, the environment with the package.
# After a time limit or a failure submit the same line again: the run goes on where it was.
#SBATCH --job-name=rodin-pipe
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --output=rodin-pipe-%j.log
set -euo pipefail

: "${RUN:?set RUN to the run folder, on a file system that all nodes share}"
PRESET=${PRESET:-desk}
VENV=${VENV:-$SLURM_SUBMIT_DIR/.venv}
# shellcheck disable=SC1091
source "$VENV/bin/activate"

# Other users of these nodes may reach Ray's ports: without this job's token they get no answer.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" hostname --all-ip-addresses | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))
export RAY_ADDRESS="$head_ip:$port"

start_ray() { # node, arguments of `ray start`
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --overlap --nodelist="$node" --cpus-per-task="$SLURM_CPUS_PER_TASK" \
        env -u RAY_ADDRESS ray start --block --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@" &
}

start_ray "${nodes[0]}" --head --node-ip-address="$head_ip" --port="$port" --temp-dir="/tmp/ray-$SLURM_JOB_ID" \
    --include-dashboard=false
for attempt in $(seq 60); do
    ray health-check --address "$RAY_ADDRESS" 2>/dev/null && break
    [[ $attempt -lt 60 ]] || { echo "Ray's head at $RAY_ADDRESS does not start" >&2; exit 1; }
    sleep 2
done
for node in "${nodes[@]:1}"; do
    start_ray "$node" --address="$RAY_ADDRESS"
done

rodin-pipe run --preset "$PRESET" --out "$RUN" --address auto
