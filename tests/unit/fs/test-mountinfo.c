#include "fs/mountinfo.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/check.h"
#include "util/macros.h"

static const char table[] =
	"22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	"23 22 0:20 / /mnt/a rw shared:7 master:1 - tmpfs none rw\n"
	"24 22 0:21 / /mnt/a\\040b\\134c rw - fuse.mkfs-mount /r.yaml ro\n"
	"garbage\n"
	"25 22 0:22 / /mnt/cut rw shared:2\n"
	"26 23 0:23 / /mnt/a ro - fuse.mkfs-mount /r\\040- ro,user_id=0\n"
	"27 22 0:24 / /mnt/b ro - fuse.mkfs-mount /r ro\n"
	"28 27 0:25 / /mnt/b ro - proc proc ro\n";

static void find(const char *path, const char *type)
{
	struct mount_entry entry = {0};
	FILE *file = fmemopen((void *)table, sizeof(table) - 1, "r");

	CHECK(file);
	int r = mountinfo_find(file, path, &entry);
	if (type) {
		CHECK(r == 0 && strcmp(entry.path, path) == 0);
		CHECK(strcmp(entry.type, type) == 0);
	} else {
		CHECK(r == -ENOENT && !entry.path);
	}
	mount_entry_done(&entry);
	fclose(file);
}

int main(void)
{
	struct mount_entry entry = {0};

	find("/", "ext4");
	find("/mnt/a", "fuse.mkfs-mount");
	find("/mnt/b", "proc");
	find("/mnt/a b\\c", "fuse.mkfs-mount");
	find("/mnt", NULL);
	find("/mnt/cut", NULL);
	CHECK(mountinfo_find(NULL, "/proc", &entry) == 0);
	CHECK(strcmp(entry.type, "proc") == 0);
	mount_entry_done(&entry);
	return 0;
}
