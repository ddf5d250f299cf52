#!/bin/sh
# The keeper: a guest's parent. It outlives the peer that started it; if it dies, the guest dies (PDEATHSIG). It holds
# the VM's lock, says which processes are whose, notes how the guest ended, and keeps its logs bounded.
#
#   keeper.sh FOLDER TOKEN CGROUP PROGRAM ARGUMENT...     runs a guest; CGROUP is a control group's folder, or ''
#   keeper.sh --trim FOLDER                               what it runs beside the guest: cuts long logs
#
# In FOLDER:  lock      held (flock) as long as the keeper or its guest lives
#             permit    TOKEN, written by the peer; the start happens only while it is there, and takes it away
#             process   "keeper-pid start-time guest-pid start-time boot-id", once the guest's process exists
#             exit      the guest's exit status, as sh counts (128 + signal), once it is gone
# Exit status 75: another guest of this VM runs. 77: the permit is gone. 71: something here does not work.
set -uf
umask 077
# A guest's memory is nobody's business, and would fill the disk.
ulimit -c 0

# A log is cut to LOG_KEPT when it is found above LOG_MAX; what was kept is in LOG.1. A guest that does nothing but
# write makes under 2 MiB/s, so no log grows past 80 MiB.
LOG_MAX=8388608
LOG_KEPT=1048576
TRIM_SECONDS=30

# Start time in clock ticks since boot: field 22 of /proc/PID/stat. A pid with another one is another process.
started() {
  read -r line <"/proc/$1/stat" || return 1
  set -- ${line##*) }
  echo "${20}"
}

trim() {
  while :; do
    for log in "$1/serial.log" "$1/keeper.log"; do
      [ -f "$log" ] || continue
      [ "$(stat -c %s "$log")" -gt "$LOG_MAX" ] || continue
      tail -c "$LOG_KEPT" "$log" >"$log.1"
      : >"$log"
    done
    setpriv --pdeathsig KILL sleep "$TRIM_SECONDS"
  done
}

keep() {
  folder=$1 token=$2 cgroup=$3
  shift 3
  cd /
  exec 9>>"$folder/lock" || exit 71
  flock -n 9 || exit 75
  rm -f "$folder/process" "$folder/exit"
  [ -z "$cgroup" ] || echo 0 >"$cgroup/cgroup.procs" || echo "keeper: not in $cgroup"
  permit=
  read -r permit <"$folder/permit"
  [ "$permit" = "$token" ] || exit 77
  rm -f "$folder/permit"

  # Between fork and PDEATHSIG the keeper may die: whoever is no longer its child then does not start.
  setpriv --pdeathsig KILL sh -c '[ "$PPID" = "$0" ] && exec "$@"' $$ "$@" &
  guest=$!
  read -r boot </proc/sys/kernel/random/boot_id
  echo "$$ $(started $$) $guest $(started "$guest") $boot" >"$folder/process.new"
  mv "$folder/process.new" "$folder/process" || exit 71

  setpriv --pdeathsig KILL sh "$0" --trim "$folder" 9>&- &
  trimmer=$!
  wait "$guest"
  code=$?
  kill "$trimmer" 2>/dev/null
  wait "$trimmer" 2>/dev/null
  echo "$code" >"$folder/exit.new" && mv "$folder/exit.new" "$folder/exit"
  exec 9>&-
  [ -z "$cgroup" ] || leave "$cgroup" 2>/dev/null
}

# The group goes with the last that was in it: this keeper, and a killed sleep that is on its way.
leave() {
  echo 0 >"${1%/*}/cgroup.procs" || return
  for _ in 1 2 3 4 5; do
    rmdir "$1" && return
    [ -d "$1" ] || return
    sleep 0.05
  done
}

# One line, read as a whole before it runs: this file may be replaced while keepers live.
case $1 in --trim) trim "$2" ;; *) keep "$@" ;; esac; exit
