#!/bin/sh
# Installs what the tests need, builds, and runs them all. With --all also
# builds with clang and runs the unit and mount tests under the sanitizers.
set -eu
cd "$(dirname "$0")/.."

sh docs/install.sh --tests
sh tests/venv.sh
[ -d build ] || meson setup build
ninja -C build
meson test -C build --no-rebuild --print-errorlogs

[ "${1:-}" = --all ] || exit 0

[ -d build-clang ] || CC=clang meson setup build-clang -Dfuzz=true
ninja -C build-clang
meson test -C build-clang --no-rebuild --print-errorlogs \
	--suite unit --suite fuzz
for name in address,undefined thread; do
	folder=build-$(echo $name | tr , -)
	[ -d "$folder" ] || meson setup "$folder" -Db_sanitize=$name \
		-Dbuildtype=debugoptimized
	ninja -C "$folder"
	meson test -C "$folder" --no-rebuild --print-errorlogs \
		--timeout-multiplier 5 --suite unit --suite mount
done
