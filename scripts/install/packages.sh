# Sourced with $root set: sees to it that the packages are there and the runtime runs, and sets $node. What only development needs
# stays out unless it is there already. On failure it calls `fail`, which the caller brings; with $dry_run it changes nothing.
case $(uname -m) in
  x86_64 | amd64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) fail "there is no runtime for $(uname -m); use an x86-64 or arm64 machine" ;;
esac
node=$root/node_modules/node-linux-$arch/bin/node

runs() {
  "$node" --version >/dev/null 2>&1 ||
    fail "the runtime does not run: $("$node" --version 2>&1 | head -n 1). On Debian and Ubuntu: apt-get install libatomic1"
}
if [ -x "$node" ]; then runs; fi
if [ ! -x "$node" ] || ! "$node" "$root/scripts/install/stage.ts" "$root" 2>/dev/null; then
  if [ -n "${dry_run:-}" ]; then
    echo "would install the packages of package-lock.json with npm"
  else
    command -v npm >/dev/null 2>&1 || fail "npm is missing; run: apt-get install npm (any Node from 20 on will do)"
    version=$(npm --version 2>/dev/null) || fail "npm does not run; reinstall Node and npm (any Node from 20 on will do)"
    case ${version%%.*} in
      [1-6]) fail "npm $version cannot read this lock file; install Node 20 or later with its npm" ;;
    esac
    echo "installing packages (once; about half a minute)"
    if [ -d "$root/node_modules/typescript" ]; then omit=''; else omit=--omit=dev; fi
    (cd "$root" && npm ci $omit --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null) ||
      fail "the packages could not be installed; check the network and run in $root: npm ci --ignore-scripts"
    [ -x "$node" ] || fail "the runtime $node is missing; run in $root: npm ci --ignore-scripts"
    runs
  fi
fi
