#!/usr/bin/env bash
# A SLURM of two nodes on this machine, as root: start_slurm.sh FOLDER. Its nodes are `one` and `two`, each a slurmd of its
# own with its own port, with a GPU of model h200 that has no hardware behind it and 32 GB of memory that no job is held
# to. Partition `gpu`, no accounting. Its configuration is FOLDER/slurm.conf, for SLURM_CONF; `scontrol shutdown` ends it.
set -euo pipefail
folder=$1
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf
mkdir -p "$folder/state" "$folder/one" "$folder/two" /run/munge
chown munge:munge /run/munge
cat >"$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$host
AuthType=auth/munge
# What is put into the queue again waits for so many seconds.
AuthInfo=cred_expire=10
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.%n.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
GresTypes=gpu
# A node that does not answer is down after so many seconds; a job past its time limit is killed at once.
SlurmdTimeout=10
KillWait=5
ReturnToService=2
MinJobAge=3600
SlurmdParameters=config_overrides
NodeName=one NodeHostname=$host Port=17001 CPUs=$(nproc --all) RealMemory=32000 Gres=gpu:h200:1 State=UNKNOWN
NodeName=two NodeHostname=$host Port=17002 CPUs=$(nproc --all) RealMemory=32000 Gres=gpu:h200:1 State=UNKNOWN
PartitionName=gpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
CONF
echo "NodeName=one Name=gpu Type=h200 File=/dev/tty0
NodeName=two Name=gpu Type=h200 File=/dev/tty1" >"$folder/gres.conf"
# Where srun looks in a job, which SLURM_CONF does not reach.
mkdir -p /etc/slurm
ln --symbolic --force --no-dereference "$folder/slurm.conf" /etc/slurm/slurm.conf
munge --no-input >/dev/null 2>&1 || runuser -u munge -- /usr/sbin/munged
slurmctld -c
slurmd -N one
slurmd -N two
for _ in $(seq 60); do
    [ "$(sinfo --noheader --Node --states idle 2>/dev/null | wc -l)" = 2 ] && exit
    sleep 1
done
tail "$folder"/*.log
exit 1
