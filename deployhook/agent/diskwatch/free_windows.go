package diskwatch

import "golang.org/x/sys/windows"

// Free returns the room on dir's volume, zero when it cannot be read.
func Free(dir string) Room {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return Room{}
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &all); err != nil {
		return Room{}
	}
	return Room{Free: int64(free), Total: int64(total)}
}
