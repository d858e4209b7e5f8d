package main

// renewOnSignal does nothing: Windows has no signal for it, and no take-over.
func (f *frontDoor) renewOnSignal() (stop func()) { return func() {} }
