#!/usr/bin/env bash
# A SLURM of one node on this machine, as root: start_slurm.sh FOLDER. Partition `gpu`, two GPUs of model h200 with no
# hardware behind them, 64 GB of memory that no job is held to, no accounting. Its configuration is FOLDER/slurm.conf, for
# SLURM_CONF; `scontrol shutdown` ends it.
set -euo pipefail
folder=$1
node=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf
mkdir -p "$folder/state" "$folder/spool" /run/munge
chown munge:munge /run/munge
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$node
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
ReturnToService=2
MinJobAge=3600
SlurmdParameters=config_overrides
NodeName=$node CPUs=$(nproc --all) RealMemory=64000 Gres=gpu:h200:2 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
echo "NodeName=$node Name=gpu Type=h200 File=/dev/tty[0-1]" >"$folder/gres.conf"
# Where srun looks in a job, which SLURM_CONF does not reach.
mkdir -p /etc/slurm
ln --symbolic --force --no-dereference "$folder/slurm.conf" /etc/slurm/slurm.conf
munge --no-input >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
slurmctld -c
slurmd
for _ in $(seq 60); do
    sinfo --noheader --states idle 2>/dev/null | grep --quiet . && exit
    sleep 1
done
tail "$folder"/*.log
exit 1
