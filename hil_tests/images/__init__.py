"""A Debian arm64 root folder, a kernel for it, and what runs programs in it on a machine of another kind."""
