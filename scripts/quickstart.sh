#!/bin/sh
# Starts Relevo in sandbox mode: nothing leaves this machine, all mail goes to a built-in sink. Needs any Node with npm;
# everything lies below the checkout in .relevo, nothing is installed outside it and root is not needed.
# usage: scripts/quickstart.sh [--once] [--any-port]
#   --once       does a round trip by itself, tells what it saw, and ends: 0 when all of it held
#   --any-port   uses free ports instead of 1587, 1465, 1025 and 8025
set -u

root=$(CDPATH='' cd -P -- "$(dirname -- "$0")/.." && pwd) || exit 71
cd "$root" || exit 71

fail() {
  echo "quickstart: $1" >&2
  exit 1
}

for argument in "$@"; do
  case $argument in
    -h | --help) sed -n '2,6s/^# //p' "$0" && exit 0 ;;
  esac
done

case $(uname -m) in
  x86_64 | amd64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) fail "there is no runtime for $(uname -m); use an x86-64 or arm64 machine" ;;
esac
node=$root/node_modules/node-linux-$arch/bin/node

# Installed anew when missing or older than the lock; what only the tests need stays out, unless it is there already.
if [ ! -x "$node" ] || [ ! -f node_modules/.package-lock.json ] ||
  [ -n "$(find package-lock.json -newer node_modules/.package-lock.json)" ]; then
  command -v npm >/dev/null 2>&1 || fail "npm is missing; run: apt-get install npm (any Node from 20 on will do)"
  version=$(npm --version 2>/dev/null) || fail "npm does not run; reinstall Node and npm (any Node from 20 on will do)"
  case ${version%%.*} in
    [1-6]) fail "npm $version cannot read this lock file; install Node 20 or later with its npm" ;;
  esac
  echo "installing packages (once; about half a minute)"
  omit=--omit=dev
  [ -e node_modules/.bin/tap ] && omit=
  npm ci $omit --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null ||
    fail "the packages could not be installed; check the network and run: npm ci --ignore-scripts"
fi
[ -x "$node" ] || fail "the runtime $node is missing; run: npm ci --ignore-scripts"
"$node" --version >/dev/null 2>&1 ||
  fail "the runtime does not run: $("$node" --version 2>&1 | head -n 1). On Debian and Ubuntu: apt-get install libatomic1"

exec "$node" scripts/quickstart/main.ts "$@"
