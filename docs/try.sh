#!/bin/sh
# Installs what is needed, builds, mounts the example merge and reads it.
set -eu
cd "$(dirname "$0")/.."

sh docs/install.sh
[ -d build ] || meson setup build
ninja -C build fs/mkfs-mount fs/mkfs-ctl
build/fs/mkfs-ctl check docs/example/recipe.yaml

merged=$(mktemp -d)
trap 'build/fs/mkfs-ctl umount "$merged" 2>/dev/null || true
rmdir "$merged"' EXIT

if build/fs/mkfs-mount docs/example/recipe.yaml "$merged"; then
	echo "mounted docs/example/recipe.yaml on $merged"
else
	echo "cannot mount here: exporting the same bytes instead"
	rmdir "$merged"
	build/fs/mkfs-ctl export docs/example/recipe.yaml "$merged"
	trap 'rm -r "$merged"' EXIT
fi
ls -l "$merged"
echo "first bytes of the merged weights:"
od -A d -t x1z -N 64 "$merged/model.safetensors"
for python in .venv/bin/python python3; do
	if "$python" -c 'import torch, transformers' 2>/dev/null; then
		"$python" docs/example/generate.py "$merged"
		exit
	fi
done
echo "(tests/venv.sh makes .venv with transformers, to generate from it)"
