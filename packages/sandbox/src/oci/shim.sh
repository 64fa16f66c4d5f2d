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
  mkfs.ext4 -q -F -m 0 -O ^has_journal,^resize_inode -E "lazy_itable_init=1,nodiscard,root_owner=$BERTH_OWNER" -d seed disk.img &
  local mkfs=$!
  # crun refuses a machine with both cgroup versions mounted; in this namespace one of them can go.
  if [ -n "$BERTH_HIDE" ]; then
    umount "$BERTH_HIDE" || fail "cannot hide $BERTH_HIDE"
  fi
  # The runtime opens the root file system as the sandbox's own root, which cannot pass through the state directory.
  case $BERTH_LAYERS in
    *:*) mount -n -t overlay -o "ro,nosuid,nodev,lowerdir=$BERTH_LAYERS" overlay "$BERTH_ROOT" ;;
    *) mount -n --bind "$BERTH_LAYERS" "$BERTH_ROOT" ;;
  esac || fail 'cannot mount the root file system'
  wait "$mkfs" || fail 'mkfs.ext4 failed'
  mount -n -t ext4 -o loop,discard,noinit_itable,nosuid,nodev,noatime disk.img disk || fail 'cannot mount the disk image'
}

launch() {
  # The output pipe's only writers are the runtime and the sandbox: its end of file is the sandbox's end.
  exec 4< <(exec "$BERTH_RUNTIME" --root "$BERTH_RUNTIME_ROOT" --log shim.log run --detach --bundle . "$BERTH_ID" 2>&1 3>&-)
  wait $! || fail 'the runtime could not start the sandbox'
  : >started
  echo started >&3
  exec 3>&-
}

# Copies the runner's output into a log of bounded size and returns when the sandbox has ended or its time has run out. No forks:
# this loop is what an idle sandbox costs.
watch() {
  local chunk ended size=0 now until left=1
  exec 5>>runner.log
  while :; do
    IFS= read -r -N 4096 -t "$left" chunk <&4
    ended=$?
    if [ -n "$chunk" ]; then
      printf %s "$chunk" >&5
      size=$((size + ${#chunk}))
      if [ "$size" -gt "$LOG_BYTES" ]; then
        mv -f runner.log runner.log.1
        exec 5>>runner.log
        size=0
      fi
    fi
    [ "$ended" -eq 1 ] && return
    # Seconds since boot, not the time of day: that one may jump.
    read -r now _ </proc/uptime
    now=${now%.*}
    read -r until <until || until=0
    case $until in '' | *[!0-9]*) until=0 ;; esac
    [ "$until" -le "$now" ] && return
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
