"""Every C file is as clang-format would write it, and no line is too long."""
import os
import shutil
import subprocess
import sys

FOLDERS = ("util", "cache", "merge", "fs", "tests", "docs")

program = shutil.which("clang-format-14") or shutil.which("clang-format")
if not program:
    print("clang-format is missing: apt-get install clang-format")
    sys.exit(77)
version = subprocess.run([program, "--version"], capture_output=True,
                         text=True).stdout
if "version 14." not in version:
    print(f"this is not clang-format 14, which others differ from: {version}")
    sys.exit(77)

root = sys.argv[1]
files = [os.path.join(folder, name)
         for top in FOLDERS
         for folder, _, names in os.walk(os.path.join(root, top))
         for name in sorted(names) if name.endswith((".c", ".h"))]
done = subprocess.run([program, "--dry-run", "--Werror", *files],
                      capture_output=True, text=True)
lines = [line for line in done.stderr.split("\n") if ": error: " in line]
print("\n".join(lines))
sys.exit(1 if done.returncode or not files else 0)
