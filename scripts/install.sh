#!/bin/sh
# Installs Relevo on this host as a systemd service; run again, from a newer checkout, it upgrades: with a backup, and back to the
# version before when the new one does not start. Run it as root.
# usage: scripts/install.sh [--hostname NAME] [--mode sandbox|live] [--inbound ADDRESS:PORT|none] [--certificate FILE --key FILE]
#                           [--yes] [--no-start] [--no-backup] [--root DIR] [--dry-run]
#        scripts/install.sh --uninstall [--purge] [--yes] [--root DIR] [--dry-run]
#   --hostname     the name of this host as other mail servers see it (asked for otherwise)
#   --mode         sandbox: nothing leaves this host (default); live: mail is delivered
#   --inbound      where bounces come in, or none (default: port 25 of all addresses)
#   --certificate  PEM files of the certificate with its chain and of the key, readable by the user relevo
#   --yes          asks nothing
#   --no-start     leaves the service as it is: not started, not enabled, not restarted
#   --no-backup    an upgrade without the copy of the store in /var/backups/relevo
#   --root DIR     installs into the system below DIR, and touches no service of this host
#   --dry-run      says each step and does none
#   --uninstall    takes the program away and keeps configuration, mail and backups; with --purge those too
set -u
umask 022

root=$(CDPATH='' cd -P -- "$(dirname -- "$0")/.." && pwd) || exit 71
prefix=''
dry_run=''
yes=''
start=1
backup=1
uninstall=''
purge=''
hostname=''
mode=''
stopped=''
unset CDPATH

fail() {
  echo "install: $1" >&2
  exit "${2:-1}"
}

# The options that configure.sh takes go on to it.
set_aside() {
  given="$given $1 '$(printf %s "$2" | sed "s/'/'\\\\''/g")'"
}
given=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0" && exit 0 ;;
    --dry-run) dry_run=1 ;;
    --yes) yes=1 ;;
    --no-start) start='' ;;
    --no-backup) backup='' ;;
    --uninstall) uninstall=1 ;;
    --purge) purge=1 ;;
    --root | --hostname | --mode | --inbound | --certificate | --key)
      [ $# -ge 2 ] || fail "$1 wants a value" 64
      case $1 in
        --root) prefix=${2%/} ;;
        --hostname) hostname=$2 ;;
        --mode) mode=$2 ;;
        *) set_aside "$1" "$2" ;;
      esac
      shift
      ;;
    *) fail "$1 is not known; see scripts/install.sh --help" 64 ;;
  esac
  shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || fail "--purge goes with --uninstall" 64
[ "$(id -u)" = 0 ] || [ -n "$dry_run" ] || fail "root is needed; run: sudo $0" 77
case $prefix in '' | /*) ;; *) fail "--root wants a path from / on" 64 ;; esac
[ -z "$prefix" ] || [ -d "$prefix" ] || fail "there is no directory $prefix" 66

program=$prefix/usr/lib/relevo
versions=$prefix/usr/lib/relevo.d
command=$prefix/usr/bin/relevo
unit=$prefix/usr/lib/systemd/system/relevo.service
config=$prefix/etc/relevo/relevo.toml
data=$prefix/var/lib/relevo
backups=$prefix/var/backups/relevo

if [ -d "$program" ] && [ ! -L "$program" ]; then
  fail "Relevo was installed here by its Debian package; upgrade or remove it with apt" 73
fi
systemd=''
if [ -z "$prefix" ] && [ -d /run/systemd/system ]; then systemd=1; fi

# One at a time; what a cut one left running holds the lock until it ends.
if [ -z "$dry_run" ]; then
  mkdir -p "${versions%/*}" && exec 9>"$versions.lock" || exit 73
  flock -w 60 9 || fail "another installation is under way" 75
fi

step() {
  words=$1
  shift
  if [ -n "$dry_run" ]; then
    echo "would $words"
    return
  fi
  echo "$words"
  "$@" || fail "could not $words"
}

ask() { # QUESTION DEFAULT
  answer=''
  if [ -z "$yes$dry_run" ] && [ -t 0 ]; then
    printf '%s [%s] ' "$1" "$2" >&2
    read -r answer
  fi
  echo "${answer:-$2}"
}

# What is switched, is switched by one rename: a cut leaves the old or the new.
switch_to() {
  ln -s "relevo.d/$1" "$program.new" 2>/dev/null || { rm -f "$program.new" && ln -s "relevo.d/$1" "$program.new"; } || return
  mv -T "$program.new" "$program"
}
put_unit() {
  mkdir -p "${unit%/*}" && cp "$program/systemd/relevo.service" "$unit.new" && mv "$unit.new" "$unit" || return
  if [ -n "$systemd" ]; then systemctl daemon-reload; fi
}
put_command() {
  mkdir -p "${command%/*}" && ln -sfn ../lib/relevo/scripts/relevo "$command.new" && mv -T "$command.new" "$command"
}
stage() {
  rm -rf "$versions/.partial" && mkdir -p "$versions/.partial" &&
    "$node" "$root/scripts/install/stage.ts" "$root" "$versions/.partial" &&
    chown -R 0:0 "$versions/.partial" && chmod -R go-w "$versions/.partial" || return
  # What is made below another root is flushed by who made that.
  if [ -z "$prefix" ]; then sync -f "$versions" || return; fi
  mv "$versions/.partial" "$versions/$1"
}
as_relevo() {
  setpriv --reuid relevo --regid relevo --init-groups env XDG_CACHE_HOME=/var/cache "$@"
}
# systemd says that it is ready; whether it answers is asked too.
start_service() {
  systemctl restart relevo || return
  "$command" status --json >/dev/null
}
stop_service() {
  systemctl stop relevo
  stopped=1
}
take_backup() {
  as_relevo "$command" db backup "$1" --config "$config"
}
# The latest three are kept.
drop_old_backups() {
  ls -1d "$backups"/before-* 2>/dev/null | sort | head -n -3 | xargs -r -d '\n' rm -rf
}

remove_program() {
  rm -f "$command" "$unit" "$program" "$program.new" "$versions.lock" && rm -rf "$versions" "$prefix/var/cache/relevo"
  if [ -n "$systemd" ]; then systemctl daemon-reload; fi
}
remove_data() {
  rm -rf "$prefix/etc/relevo" "$data" "$data".of-* "$backups" || return
  if [ -n "$prefix" ]; then set -- --prefix "$prefix"; else set --; fi
  if grep -qs '^relevo:' "$prefix/etc/passwd"; then userdel "$@" relevo; fi
}

if [ -n "$uninstall" ]; then
  if [ -n "$purge" ] && [ -z "$yes$dry_run" ]; then
    [ "$(ask "Remove $data with all mail in it, $backups and $prefix/etc/relevo for ever?" no)" = yes ] ||
      fail "nothing was removed; say yes, or give --yes"
  fi
  if [ -n "$systemd" ] && [ -e "$unit" ]; then step "stop the service and take it from the start" systemctl disable --now relevo; fi
  step "remove $command, $program and $unit" remove_program
  if [ -n "$purge" ]; then
    step "remove $prefix/etc/relevo, $data, $backups and the user relevo" remove_data
  else
    echo "kept: $prefix/etc/relevo, $data and $backups (--purge removes them)"
  fi
  exit 0
fi

. "$root/scripts/install/packages.sh"
version=$(sed -n 's/^  "version": "\([^"]*\)",$/\1/p' "$root/package.json")
name=$version-$(date -u +%Y%m%d%H%M%S)
old=$(readlink "$program" 2>/dev/null | sed 's,.*/,,')

if [ ! -e "$config" ]; then
  [ -n "$hostname" ] || hostname=$(ask "The name of this host as other mail servers see it?" "$(hostname -f 2>/dev/null || hostname)")
  [ -n "$mode" ] || mode=$(ask "Deliver mail (live), or keep all of it here to try things out (sandbox)?" sandbox)
  set_aside --hostname "$hostname"
  set_aside --mode "$mode"
fi
[ -z "$prefix" ] || set_aside --root "$prefix"
if [ -n "$dry_run" ]; then given="$given --dry-run"; fi

if [ -n "$old" ]; then echo "upgrading ${old%-*} to $version"; else echo "installing version $version"; fi
step "lay the program into $versions/$name" stage "$name"
eval "sh \"\$root/scripts/install/configure.sh\" $given" || exit
if [ -z "$prefix" ]; then
  step "check the configuration with the new version" "$versions/$name/scripts/relevo" config check --config "$config" ||
    exit
fi

if [ -n "$systemd" ] && [ -n "$start" ] && [ -n "$old" ]; then
  # Whatever ends this from here on, the service runs again: with the old program or the new one, each whole.
  trap 'echo "install: interrupted" >&2; [ -z "$stopped" ] || systemctl start relevo; exit 130' INT TERM HUP
  kept=$backups/before-$name
  step "stop the service" stop_service
  if [ -n "$backup" ] && [ -e "$data/relevo.db" ]; then
    if [ -n "$dry_run" ]; then
      echo "would copy the store to $kept"
    else
      echo "copy the store to $kept"
      take_backup "$kept" || { systemctl start relevo; fail "the store could not be copied; nothing was changed and the old version runs"; }
    fi
  fi
fi
step "switch $program to it" switch_to "$name"
step "put $unit in place" put_unit
step "put $command in place" put_command

if [ -z "$systemd" ] || [ -z "$start" ]; then
  [ -n "$prefix" ] || [ -n "$systemd" ] || echo "note: systemd does not run here; start Relevo with: relevo serve (as user relevo)"
elif [ -n "$dry_run" ]; then
  echo "would start the service, and go back to the version before when it does not start"
else
  systemctl enable --quiet relevo
  echo "start the service"
  if ! start_service; then
    echo "install: it does not start. Its last words:" >&2
    journalctl -u relevo -n 8 -o cat --no-pager >&2 2>/dev/null
    [ -n "$old" ] || fail "correct what it says, then: systemctl restart relevo"
    echo "going back to $old" >&2
    systemctl stop relevo
    switch_to "$old" && put_unit && start_service && {
      rm -rf "${versions:?}/$name"
      fail "$version does not start; ${old%-*} runs again, on the same mail"
    }
    # A store of the newer form is refused by the older program.
    [ -d "${kept:-}" ] || fail "${old%-*} does not start either, and there is no backup: see journalctl -u relevo"
    systemctl stop relevo
    mv "$data" "$data.of-$name" && mkdir -m 700 "$data" &&
      "$command" db restore "$kept" --config "$config" --key-file "$prefix/etc/relevo/master.key" &&
      chown -R relevo:relevo "$data" && start_service ||
      fail "the backup $kept could not be brought back; the store is in $data.of-$name: see journalctl -u relevo"
    fail "$version does not start; ${old%-*} runs again, on the backup $kept. Mail that had not ended is held: see relevo queue release --restored"
  fi
fi
trap - INT TERM HUP
# The version before is kept, to go back by hand; older ones are not.
if [ -d "$versions" ] && [ -z "$dry_run" ]; then
  for each in "$versions"/* "$versions"/.partial; do
    case ${each##*/} in "$name" | "${old:-none}") ;; *) rm -rf "$each" ;; esac
  done
  drop_old_backups
fi
if [ -z "$dry_run" ]; then
  echo "done: Relevo $version. What comes next: $program/docs/deployment.md"
fi
