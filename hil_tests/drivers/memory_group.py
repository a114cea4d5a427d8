"""A memory cgroup (of version 2, else of version 1) for one command and what it starts, by shell commands."""

from __future__ import annotations

GROUP = "tenohira-hil"
# Makes the group, goes into it, and becomes the command.
ENTER = f"""
set -e
bytes=$(($1 * 1048576)); shift
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup/{GROUP}; echo +memory >/sys/fs/cgroup/cgroup.subtree_control || true
  mkdir -p $group; echo $bytes >$group/memory.max; echo 0 >$group/memory.swap.max 2>/dev/null || true
else
  group=/sys/fs/cgroup/memory/{GROUP}; mkdir -p $group; echo $bytes >$group/memory.limit_in_bytes
  echo 0 >$group/memory.swappiness
fi
echo $$ >$group/cgroup.procs
exec "$@"
"""
# Writes how many of its processes the kernel has ended; nothing where there is no group.
KILLS = (
    f"cat /sys/fs/cgroup/{GROUP}/memory.events /sys/fs/cgroup/memory/{GROUP}/memory.oom_control 2>/dev/null"
    " | awk '$1 == \"oom_kill\" {print $2}'"
)
# It goes only when nobody is in it.
REMOVE = f"rmdir /sys/fs/cgroup/{GROUP} /sys/fs/cgroup/memory/{GROUP} 2>/dev/null; true"


def entered(megabytes: int) -> list[str]:
    """What stands before a command that is to run with so much memory, and without swap."""
    return ["sh", "-c", ENTER, "sh", str(megabytes)]
