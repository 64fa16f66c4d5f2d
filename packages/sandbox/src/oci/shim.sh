#!/bin/bash
# The life of one sandbox, from its disk to its end. Runs as process 1 of a PID and mount namespace of its own, so that its death,
# however it comes about, ends every process of the sandbox, unmounts the disk and frees the loop device.
#
#   stdin   one line `go`; end of file instead means that the maker is gone and nothing may be started
#   fd 3    one line back: `started`, or what went wrong
#   stderr  this sandbox's shim.log
#
# Everything is inside functions: bash has read the whole file before it starts, so the file may be replaced underneath it.
set -u
export LC_ALL=C

# Two log files of this size at most.
readonly LOG_BYTES=524288
# Seconds between two looks at `until`.
readonly WAKE=3

fail() {
  echo "$1" >&3
  exit 1
}

prepare() {
  # Survive a restart of the service that started us: its manager ends what it finds in the service's cgroup.
  for procs in $BERTH_JOIN; do
    echo 0 >"$procs" || fail "cannot join $procs"
  done
  # Beside what follows: most of its time it waits for the host's disk.
  ready_disk &
  local disk=$!
  # crun refuses a machine with both cgroup versions mounted; in this namespace one of them can go.
  if [ -n "$BERTH_HIDE" ]; then
    umount "$BERTH_HIDE" || fail "cannot hide $BERTH_HIDE"
  fi
  # The runtime opens the root file system as the sandbox's own root, which cannot pass through the state directory.
  case $BERTH_LAYERS in
    *:*) mount -n -t overlay -o "ro,nosuid,nodev,lowerdir=$BERTH_LAYERS" overlay "$BERTH_ROOT" ;;
    *) mount -n --bind "$BERTH_LAYERS" "$BERTH_ROOT" ;;
  esac || fail 'cannot mount the root file system'
  wait "$disk" || fail "cannot $BERTH_DISK the disk image"
  mount -n -t ext4 -o loop,discard,noinit_itable,nosuid,nodev,noatime disk.img disk || fail 'cannot mount the disk image'
}

# Makes the file system, or repairs what can be repaired without anybody's decision in the one that is there. What e2fsck and mkfs say
# goes to the log.
ready_disk() {
  case $BERTH_DISK in
    make)
      mkfs.ext4 -q -F -m 0 -O ^has_journal,^resize_inode -E "lazy_itable_init=1,nodiscard,root_owner=$BERTH_OWNER" -d seed disk.img
      ;;
    keep)
      e2fsck -p -f disk.img >&2
      # 1: it was repaired.
      [ $? -le 1 ]
      ;;
    *) false ;;
  esac
}

# Starts the sandbox, and a process that keeps its log. Fd 4 never carries anything: its end of file is the sandbox's end.
launch() {
  exec 4< <(shopt -s lastpipe; start | keep_log 3>&-)
  exec 3>&-
}

start() {
  if "$BERTH_RUNTIME" --root "$BERTH_RUNTIME_ROOT" --log shim.log run --detach --bundle . "$BERTH_ID" 2>&1 3>&-; then
    : >started
    echo started >&3
  else
    fail 'the runtime could not start the sandbox'
  fi
}

# Copies the runner's output into two files of bounded size. Not with bash's own `read`: what that has buffered of one descriptor
# when its time runs out, it gives to the next `read`, from whichever descriptor.
keep_log() {
  while stdbuf -o0 head -c "$LOG_BYTES" >runner.log; do
    [ "$(stat -c %s runner.log)" -ge "$LOG_BYTES" ] || return
    mv -f runner.log runner.log.1
  done
  # The disk is full, say. The runner must not stand still for that.
  cat >/dev/null
}

# Returns when the sandbox has ended or its time has run out. No forks: this loop is what an idle sandbox costs.
watch() {
  local now until left=1
  while :; do
    read -r -t "$left" <&4
    # 1 is the end of file; a timeout is above 128.
    [ $? -eq 1 ] && return
    # Seconds since boot, not the time of day: that one may jump.
    read -r now _ </proc/uptime
    read -r until <until || until=0
    now=${now%.*}
    case $now$until in *[!0-9]*) return ;; esac
    [ "${until:-0}" -le "$now" ] && return
    left=$((until - now))
    [ "$left" -gt "$WAKE" ] && left=$WAKE
  done
}

main() {
  local go=''
  # The pipe to a maker that has died must not end the sandbox.
  trap '' PIPE
  cd "$BERTH_DIR" || exit 1
  read -r go
  [ "$go" = go ] || exit 0
  exec </dev/null
  prepare
  launch
  watch
  "$BERTH_RUNTIME" --root "$BERTH_RUNTIME_ROOT" --log shim.log delete --force "$BERTH_ID"
}

main; exit
