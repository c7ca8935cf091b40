#!/bin/sh
# Runs every test. On a bare Debian or Ubuntu it needs any Node from 20 on, with npm; the tests themselves run on the
# Node that the package brings. usage: scripts/test.sh [--all] [FILE...]
#   --all   a suite that cannot run here is a failure (otherwise it is left out and named, with the remedy)
set -u

LIMIT_S=1180       # the whole
FILE_LIMIT_S=180   # one file: a test that hangs fails

root=$(CDPATH='' cd -P -- "$(dirname -- "$0")/.." && pwd) || exit 71
cd "$root" || exit 71

for argument in "$@"; do
  case $argument in
    --all) RELEVO_TEST_ALL=1 && export RELEVO_TEST_ALL && shift ;;
    -h | --help) sed -n '2,4s/^# //p' "$0" && exit 0 ;;
    -*) echo "test.sh: $argument is not known; see scripts/test.sh --help" >&2 && exit 64 ;;
    *) break ;;
  esac
done

fail() {
  echo "test.sh: $1" >&2
  exit 1
}

# Installed anew when missing, older than the lock, or without what only the tests need (the quick start leaves that out).
if [ ! -f node_modules/.package-lock.json ] || [ ! -e node_modules/.bin/tap ] || [ -n "$(find package-lock.json -newer node_modules/.package-lock.json)" ]; then
  command -v npm >/dev/null || fail "npm is missing; run: apt-get install npm (with any Node from 20 on)"
  echo "installing packages"
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null || fail "npm ci --ignore-scripts failed; see above"
fi
case $(uname -m) in
  aarch64 | arm64) arch=arm64 ;;
  *) arch=x64 ;;
esac
runtime=$root/node_modules/node-linux-$arch/bin
[ -x "$runtime/node" ] || fail "the runtime $runtime/node is missing; run: npm ci --ignore-scripts"
PATH=$runtime:$root/node_modules/.bin:$PATH
export PATH
if [ ! -f node_modules/.tap-is-built ]; then
  tap build >/dev/null </dev/null || fail "tap build failed"
  : >node_modules/.tap-is-built
fi

# What the tests use of Debian; without root what is missing is left out by the suites themselves.
missing() {
  grep -v '^#' scripts/debian-packages.txt | while read -r name how _; do
    [ "$how" = "$1" ] || continue
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed && continue
    [ "$how" = unpack ] && [ -e ".cache/debian/.$name" ] && continue
    echo "$name"
  done
}
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
  wanted=$(missing install)
  unpacked=$(missing unpack)
  if [ -n "$wanted$unpacked" ]; then
    if [ "$(id -u)" = 0 ]; then
      echo "fetching from Debian:" $wanted $unpacked
      DEBIAN_FRONTEND=noninteractive
      export DEBIAN_FRONTEND
      apt-get -qq update </dev/null >/dev/null 2>&1 || echo "apt-get update failed; going on with what is known"
      if [ -n "$wanted" ]; then
        # Installed for their programs: no service of theirs is started.
        guard=/usr/sbin/policy-rc.d
        if [ ! -e $guard ]; then
          printf '#!/bin/sh\nexit 101\n' >$guard && chmod 755 $guard
          trap 'rm -f /usr/sbin/policy-rc.d' EXIT INT TERM
        fi
        for name in $wanted; do
          apt-get -qq install -y --no-install-recommends "$name" </dev/null >/dev/null 2>&1 ||
            echo "could not install $name; suites that need it are left out"
        done
        if [ "$(cat $guard 2>/dev/null)" = "$(printf '#!/bin/sh\nexit 101\n')" ]; then rm -f $guard; fi
        trap - EXIT INT TERM
      fi
    elif [ -n "$wanted" ]; then
      echo "not root, so these stay missing: $(echo $wanted) (remedy: sudo apt-get install $(echo $wanted))"
    fi
    for name in $unpacked; do
      mkdir -p .cache/debian
      (
        fetched=$(mktemp -d) && chmod 755 "$fetched" && cd "$fetched" &&
          apt-get -qq download "$name" </dev/null >/dev/null 2>&1 &&
          dpkg-deb -x ./*.deb "$root/.cache/debian" && : >"$root/.cache/debian/.$name"
        status=$?
        rm -rf "$fetched"
        exit $status
      ) || echo "could not fetch $name; suites that need it are left out"
    done
  fi
fi

if [ $# -eq 0 ]; then
  # shellcheck disable=SC2046 # file names here have no spaces
  set -- $(find test -name '*.test.ts' | sort)
fi
total=$#
log=$(mktemp) || exit 73
status=$(mktemp) || exit 73
# What all daemons print, and the secrets they have, for a look at the end.
RELEVO_SUITE_OUTPUT=$(mktemp -d) || exit 73
export RELEVO_SUITE_OUTPUT
: >"$RELEVO_SUITE_OUTPUT/secrets"
: >"$RELEVO_SUITE_OUTPUT/output"
trap 'rm -rf "$log" "$status" "$RELEVO_SUITE_OUTPUT"' EXIT
trap 'exit 130' INT TERM

echo "running $total test files"
{
  timeout --foreground -k 10 "$LIMIT_S" tap run --disable-coverage --allow-empty-coverage --jobs=2 \
    --timeout="$FILE_LIMIT_S" --reporter=tap "$@" </dev/null 2>&1
  echo $? >"$status"
} | tee "$log" | awk -v total="$total" '
  # A line without indent ends one file; what it printed before is shown only when it failed.
  /^(not )?ok [0-9]+ - / {
    done++
    failed = ($1 == "not")
    name = $0
    sub(/^(not )?ok [0-9]+ - /, "", name)
    sub(/ # time=/, "  ", name)
    sub(/ \{$/, "", name)
    printf "%s %d/%d %s\n", (failed ? "FAIL" : "  ok"), done, total, name
    if (failed) printf "%s", kept
    kept = ""
    fflush()
    next
  }
  { if (length(kept) < 20000) kept = kept $0 "\n" }
'

echo
# No secret that a daemon of the suite had may stand in what any of them, or any test, printed (CWE-532).
planted=$(sort -u "$RELEVO_SUITE_OUTPUT/secrets" | wc -l)
leaked=$(sort -u "$RELEVO_SUITE_OUTPUT/secrets" | grep -v '^$' | grep -c -F -f - -- "$RELEVO_SUITE_OUTPUT/output" "$log" | awk -F: '{ sum += $NF } END { print sum + 0 }')
echo "$planted secrets looked for in all output: $leaked lines have one"
# Counted are the tests inside the files; a file that failed without one of its own (a hang, a crash) counts as one.
awk -v leaked="$leaked" -v planted="$planted" -v status="$(cat "$status")" -v total="$total" -v limit="$LIMIT_S" -v names="$*" '
  /^ *# left out: / { sub(/^ *# /, ""); if (!($0 in seen)) { seen[$0] = 1; print } }
  /^    ok [0-9]+/ && !/# SKIP/ { passed++ }
  /^    not ok [0-9]+/ { failed++; inner++ }
  /^(not )?ok [0-9]+ - / { files++; for (i = 1; i <= NF; i++) ended[$i] = 1; if ($1 == "not") { if (!inner) failed++; broken = broken "  " $0 "\n" } inner = 0 }
  END {
    if (broken != "") printf "failed files:\n%s", broken
    if (files < total) { printf "%d of %d files did not end (limit %d s)\n", total - files, total, limit; failed += total - files }
    # A file that died beside one that hung loses its name in the output of tap.
    count = split(names, each, " ")
    for (i = 1; i <= count; i++) if (!(each[i] in ended)) printf "no result under its own name: %s\n", each[i]
    if (status != 0 && !failed) failed = 1
    if (leaked > 0) failed++
    else if (planted > 0) passed++
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
  }
' "$log"
