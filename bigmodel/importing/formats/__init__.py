"""One file a format: strangers' bytes to records, one by one."""
