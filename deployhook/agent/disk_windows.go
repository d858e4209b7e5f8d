package agent

import (
	"golang.org/x/sys/windows"

	"portico/membership/catalog"
)

// diskRoom returns the room on dir's volume, zero when it cannot be read.
func diskRoom(dir string) catalog.DiskReport {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return catalog.DiskReport{}
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, &total, &all); err != nil {
		return catalog.DiskReport{}
	}
	return catalog.DiskReport{Free: int64(free), Total: int64(total)}
}
