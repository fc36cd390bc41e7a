// Command pause is the first process of each pod: it keeps the pod's namespaces and waits
// to be told to end.
package main

import (
	"context"
	"os/signal"
	"syscall"
)

func main() {
	// Whoever is left to this process when its parent ends is buried by the kernel.
	signal.Ignore(syscall.SIGCHLD)
	told, _ := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	<-told.Done()
}
