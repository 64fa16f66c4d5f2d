#!/bin/bash
# The least that a sandbox can cost: its disk made and mounted, the OCI runtime running `true` with the sandbox's own spec, everything
# removed again. Runs in a mount namespace of its own, in a directory that holds `config.json` and `seed/`.
#
#   oci-true.sh <runtime> <root of the runtime's state> <id> <root file system> <mount point> <owner uid> <mount to hide or ''>
#
# Prints two numbers of microseconds: the runtime alone, and everything.
set -eu
export LC_ALL=C
runtime=$1 state=$2 id=$3 skeleton=$4 root=$5 owner=$6 hide=$7

now() { echo "${EPOCHREALTIME/./}"; }

began=$(now)
[ -z "$hide" ] || umount "$hide"
mkfs.ext4 -q -F -m 0 -O ^has_journal -E "lazy_itable_init=1,nodiscard,root_owner=$owner:$owner" -d seed disk.img
mount -n -t ext4 -o loop,discard,noinit_itable,nosuid,nodev,noatime disk.img disk
mount -n --bind "$skeleton" "$root"
run=$(now)
"$runtime" --root "$state" run --bundle . "$id"
ran=$(now)
umount "$root" disk
ended=$(now)
echo "$((ran - run)) $((ended - began))"
