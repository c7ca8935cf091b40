#!/bin/sh
# What an installed program needs around it: user, directories, master key, and a first configuration. What is there already is
# left as it is. Run by scripts/install.sh and by the Debian package.
# usage: configure.sh [--root DIR] [--dry-run] [--hostname NAME] [--mode sandbox|live] [--inbound ADDRESS:PORT|none]
#                     [--certificate FILE --key FILE]
set -u
umask 022

here=$(CDPATH='' cd -P -- "$(dirname -- "$0")" && pwd) || exit 71
prefix=''
dry_run=''
hostname=''
mode=sandbox
inbound=''
certificate=''
key=''

fail() {
  echo "relevo: $1" >&2
  exit "${2:-1}"
}

while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry_run=1 && shift && continue ;;
  esac
  [ $# -ge 2 ] || fail "$1 wants a value" 64
  case $1 in
    --root) prefix=$2 ;;
    --hostname) hostname=$2 ;;
    --mode) mode=$2 ;;
    --inbound) inbound=$2 ;;
    --certificate) certificate=$2 ;;
    --key) key=$2 ;;
    *) fail "$1 is not known" 64 ;;
  esac
  shift 2
done

# step WORDS COMMAND...: says what is done, and does it unless it is only to be said.
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

# Numeric, of the system below the prefix; nothing where it has no such user (yet).
owner() {
  [ -r "$prefix/etc/passwd" ] && awk -F: '$1 == "relevo" { print $3 ":" $4 }' "$prefix/etc/passwd"
}

add_user() {
  if [ -n "$prefix" ]; then set -- --prefix "$prefix"; else set --; fi
  useradd "$@" --system --user-group --home-dir /var/lib/relevo --no-create-home --shell /usr/sbin/nologin relevo
}

directory() {
  mkdir -p "$1" && chmod "$2" "$1" || return
  # Without a user to give it to (an image that is still being made) systemd gives it at the first start.
  if [ "${3:-}" = relevo ] && [ -n "$(owner)" ]; then chown "$(owner)" "$1"; fi
}

# Whole or not at all: under another name first.
make_key() {
  (umask 077 && head -c 32 /dev/urandom | base64 >"$1.new") && sync "$1.new" && mv "$1.new" "$1"
}

copy_key() {
  (umask 077 && cat "$1" >"$2.new") && sync "$2.new" && mv "$2.new" "$2"
}

# Who listens on a TCP port of this host: a name, or "another program"; nothing when it is free.
listener() {
  if command -v ss >/dev/null 2>&1; then
    line=$(ss -Hltnp "sport = :$1" | head -n 1)
    [ -n "$line" ] || return
    name=$(printf %s "$line" | sed -n 's/.*users:(("\([^"]*\)".*/\1/p')
    echo "${name:-another program}"
  else
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v port="$(printf ':%04X' "$1")" '
      $4 == "0A" && substr($2, length($2) - 4) == port { found = 1 }
      END { if (found) print "another program" }'
  fi
}

# A value from outside is written into a file: only what such values may hold.
plain() {
  case $2 in
    *[!A-Za-z0-9._:/@[-]* | -*) fail "$1 cannot be $2: use letters, digits and . _ : / @ -" 64 ;;
  esac
}

write_config() {
  {
    cat <<CONFIG
# Relevo on this host. Every key, with its sentence and its default: /usr/lib/relevo/config/relevo.sample.toml
# After a change: relevo config check && systemctl reload relevo (the log says what waits for a restart).

# "sandbox" delivers everything to the built-in sink; "live" to the recipients.
mode = "$mode"
hostname = "$hostname"

[local]
socket = "/run/relevo/submit.sock"
CONFIG
    if [ -n "$certificate" ]; then
      printf '\n[tls]\ncertificate_file = "%s"\nkey_file = "%s"\n' "$certificate" "$key"
    fi
    if [ -n "$submission" ]; then printf '\n[submission]\n%s' "$submission"; fi
    case $inbound in
      '') ;;
      none) printf '\n[inbound]\nlisten = []\n' ;;
      *) printf '\n[inbound]\nlisten = ["%s"]\n' "$inbound" ;;
    esac
  } >"$1.new" && chmod 644 "$1.new" && sync "$1.new" || return
  # Below another root its files cannot be looked at.
  if [ -z "$prefix" ] && ! "$here/../relevo" config check --config "$1.new"; then
    rm -f "$1.new"
    return 1
  fi
  mv "$1.new" "$1"
}

if [ -z "$(owner)" ]; then
  if [ -n "$prefix" ] && [ ! -e "$prefix/etc/passwd" ]; then
    echo "no user is made: there is no $prefix/etc/passwd"
  else
    step "make the system user relevo" add_user
  fi
fi
[ -d "$prefix/etc/relevo" ] || step "make $prefix/etc/relevo" directory "$prefix/etc/relevo" 755
[ -d "$prefix/var/lib/relevo" ] || step "make $prefix/var/lib/relevo, where mail is kept" directory "$prefix/var/lib/relevo" 700 relevo
[ -d "$prefix/var/backups/relevo" ] ||
  step "make $prefix/var/backups/relevo" directory "$prefix/var/backups/relevo" 700 relevo

secret=$prefix/etc/relevo/master.key
if [ ! -e "$secret" ]; then
  if [ -e "$prefix/var/lib/relevo/master.key" ]; then
    step "copy the master key to $secret" copy_key "$prefix/var/lib/relevo/master.key" "$secret"
  else
    step "make the master key $secret" make_key "$secret"
  fi
fi

config=$prefix/etc/relevo/relevo.toml
[ ! -e "$config" ] || exit 0
submission=''
if [ -z "$hostname" ]; then hostname=$(hostname -f 2>/dev/null || hostname); fi
for each in "--hostname=$hostname" "--inbound=$inbound" "--certificate=$certificate" "--key=$key"; do
  plain "${each%%=*}" "${each#*=}"
done
case $mode in sandbox | live) ;; *) fail "--mode is sandbox or live" 64 ;; esac
case $hostname in
  *.*) ;;
  *)
    [ "$mode" = sandbox ] || fail "$hostname is not a full host name; give one: --hostname mail.example.com" 64
    echo "note: $hostname is not a full host name; set hostname in $config before mode = \"live\""
    ;;
esac
[ -z "$certificate$key" ] || { [ -n "$certificate" ] && [ -n "$key" ]; } || fail "--certificate and --key go together" 64
if [ -z "$prefix" ]; then
  mta=$(listener 25)
  if [ -n "$mta" ] && [ -z "$inbound" ]; then
    inbound=127.0.0.1:2525
    echo "note: $mta has port 25. Relevo sends all the same; for what comes back it listens on $inbound instead."
    echo "      Either route the bounce hosts there from $mta, or stop it and take that line out of $config:"
    echo "      see /usr/lib/relevo/docs/deployment.md, \"Another mail server on this host\"."
  fi
  for each in 587:1587:starttls_listen 465:1465:tls_listen; do
    port=${each%%:*}
    other=${each#*:}
    taken=$(listener "$port")
    if [ -n "$taken" ]; then
      echo "note: $taken has port $port. Applications find Relevo on 127.0.0.1:${other%%:*} instead."
      submission="$submission${other#*:} = [\"127.0.0.1:${other%%:*}\"]
"
    fi
  done
fi
[ -n "$certificate" ] ||
  echo "note: without a certificate applications cannot log in over SMTP; see docs/deployment.md, \"Certificate\"."
step "write $config: $hostname, mode $mode" write_config "$config"
