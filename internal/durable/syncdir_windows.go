package durable

// SyncDir does nothing: NTFS journals renames, and directories cannot be synced.
func SyncDir(string) error { return nil }
