#!/bin/sh
# Installs the Debian packages that building needs; with --tests also those
# that the tests need.
set -eu

packages="gcc libc6-dev meson ninja-build pkg-config fuse3 libfuse3-dev
libyaml-dev libcjson-dev libzstd-dev libcurl4-openssl-dev libxxhash-dev
uthash-dev"
if [ "${1:-}" = --tests ]; then
	packages="$packages git clang clang-format libclang-rt-14-dev
python3-venv attr"
fi

missing=
for package in $packages; do
	dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
		grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0

run=
[ "$(id -u)" = 0 ] || run=sudo
$run apt-get update -qq
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $missing
