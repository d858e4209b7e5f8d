package process

import (
	"fmt"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// system is the job object that holds a process and all that it starts.
// It ends with its last handle, which the agent holds: when the agent dies, its
// sites end, and the next agent starts them anew.
type system struct {
	job windows.Handle
}

func (y *system) start(cmd *exec.Cmd, s Spec) error {
	job, err := newJob(s.Limits)
	if err != nil {
		return err
	}
	// Suspended until it is in the job, so that it cannot start a child outside.
	cmd.SysProcAttr = &syscall.SysProcAttr{
		CreationFlags: windows.CREATE_NEW_PROCESS_GROUP | windows.CREATE_SUSPENDED,
	}
	if err := cmd.Start(); err != nil {
		_ = windows.CloseHandle(job)
		return err
	}
	if err := enterJob(job, uint32(cmd.Process.Pid)); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = windows.CloseHandle(job)
		return err
	}
	y.job = job
	return nil
}

func newJob(l Limits) (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, fmt.Errorf("create job object: %w", err)
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if l.Processes > 0 {
		info.BasicLimitInformation.LimitFlags |= windows.JOB_OBJECT_LIMIT_ACTIVE_PROCESS
		info.BasicLimitInformation.ActiveProcessLimit = uint32(l.Processes)
	}
	if l.Memory > 0 {
		info.BasicLimitInformation.LimitFlags |= windows.JOB_OBJECT_LIMIT_PROCESS_MEMORY
		info.ProcessMemoryLimit = uintptr(l.Memory)
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		_ = windows.CloseHandle(job)
		return 0, fmt.Errorf("limit job object: %w", err)
	}
	return job, nil
}

// enterJob puts a suspended process into the job and lets it run.
func enterJob(job windows.Handle, pid uint32) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, pid)
	if err != nil {
		return fmt.Errorf("open process: %w", err)
	}
	defer windows.CloseHandle(h)
	if err := windows.AssignProcessToJobObject(job, h); err != nil {
		return fmt.Errorf("enter job object: %w", err)
	}
	return resume(pid)
}

// resume lets the only thread of a suspended process run.
func resume(pid uint32) error {
	snap, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	defer windows.CloseHandle(snap)
	var e windows.ThreadEntry32
	e.Size = uint32(unsafe.Sizeof(e))
	for err = windows.Thread32First(snap, &e); err == nil; err = windows.Thread32Next(snap, &e) {
		if e.OwnerProcessID != pid {
			continue
		}
		t, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, e.ThreadID)
		if err != nil {
			return fmt.Errorf("open thread: %w", err)
		}
		_, err = windows.ResumeThread(t)
		_ = windows.CloseHandle(t)
		if err != nil {
			return fmt.Errorf("resume thread: %w", err)
		}
	}
	return nil
}

// terminate sends Ctrl-Break to the process's group. A process without a
// console never hears it and is killed after the grace.
func (p *Process) terminate() {
	_ = windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.PID))
}

// Kill ends the process and all in its job at once.
func (p *Process) Kill() {
	select {
	case <-p.Done:
	default:
		_ = windows.TerminateJobObject(p.sys.job, 1)
	}
}

// sweep ends what the process left behind.
func (p *Process) sweep() {
	if p.sys.job != 0 {
		_ = windows.TerminateJobObject(p.sys.job, 1)
		_ = windows.CloseHandle(p.sys.job)
	}
}

// CanAdopt: an agent finds the processes of the one before it.
const CanAdopt = false

// markOf is of no use here: the job object ends a process with its agent,
// so there is nothing to adopt.
func markOf(int) (string, bool) { return "", false }

func alive(int, string) bool { return false }

// Instances finds nothing: nothing is adopted here.
func Instances(func(id, data string) bool) []int { return nil }

func sessionOf(int) int { return 0 }
