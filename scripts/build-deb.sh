#!/bin/sh
# Builds a Debian package for the architecture of this machine, with what scripts/install.sh installs. Prints its path.
# usage: scripts/build-deb.sh [--output DIR] [--compress xz|zstd|gzip|none]
#   --output    where the .deb goes (default: dist/ in the checkout)
#   --compress  default xz: small and slow
set -u
umask 022

root=$(CDPATH='' cd -P -- "$(dirname -- "$0")/.." && pwd) || exit 71
output=$root/dist
compress=xz

fail() {
  echo "build-deb: $1" >&2
  exit "${2:-1}"
}

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0" && exit 0 ;;
    --output | --compress) [ $# -ge 2 ] || fail "$1 wants a value" 64 ;;
    *) fail "$1 is not known; see scripts/build-deb.sh --help" 64 ;;
  esac
  case $1 in
    --output) output=$2 ;;
    --compress) compress=$2 ;;
  esac
  shift 2
done
command -v dpkg-deb >/dev/null 2>&1 || fail "dpkg-deb is missing; build on Debian or Ubuntu" 69

. "$root/scripts/install/packages.sh" >&2
version=$(sed -n 's/^  "version": "\([^"]*\)",$/\1/p' "$root/package.json")
architecture=$(dpkg --print-architecture)
tree=$(mktemp -d) || exit 73
trap 'rm -rf "$tree"' EXIT
trap 'exit 130' INT TERM

mkdir -p "$tree/DEBIAN" "$tree/usr/bin" "$tree/usr/lib/systemd/system" "$tree/usr/share/doc/relevo" "$output" || exit 73
chmod 755 "$tree"
"$node" "$root/scripts/install/stage.ts" "$root" "$tree/usr/lib/relevo" || exit
chmod -R go-w,a+rX "$tree/usr"
ln -s ../lib/relevo/scripts/relevo "$tree/usr/bin/relevo"
cp "$root/systemd/relevo.service" "$tree/usr/lib/systemd/system/"
cp "$root/LICENSE" "$tree/usr/share/doc/relevo/copyright"
for each in preinst postinst prerm postrm; do
  cp "$root/scripts/install/deb/$each" "$tree/DEBIAN/$each" && chmod 755 "$tree/DEBIAN/$each" || exit
done
cat >"$tree/DEBIAN/control" <<CONTROL
Package: relevo
Version: $version
Architecture: $architecture
Maintainer: Relevo <postmaster@localhost>
Installed-Size: $(du -sk "$tree/usr" | cut -f1)
Depends: libc6, libstdc++6, libgcc-s1, libatomic1, passwd, util-linux
Recommends: systemd, ca-certificates
Section: mail
Priority: optional
Description: self-hosted outbound mail server
 Takes mail of applications over SMTP or HTTP, keeps it until every recipient
 is settled, signs it with DKIM, delivers it itself to the recipients' MX hosts
 at the pace its reputation allows, reads what comes back, and hands over to a
 relay where its own way is refused.
CONTROL
deb=$output/relevo_${version}_$architecture.deb
dpkg-deb --root-owner-group -Z"$compress" --build "$tree" "$deb" >/dev/null || fail "dpkg-deb failed" 70
echo "$deb"
