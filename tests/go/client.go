// A client of runtimes as containerd has it: go-runc, with another program in place of the runtime.
//
//	client PROGRAM ROOT ID
//
// It prints the statistics of a container, and the type of the first event of a stream, as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	runc "github.com/containerd/go-runc"
)

// monitor waits for a program when go-runc says so, which is after it has read the program's output. The default one
// waits at once, in another goroutine, which closes the pipe ("file already closed") if the program ends before its
// output has been read: https://pkg.go.dev/os/exec#Cmd.StdoutPipe forbids that. containerd has its own monitor, too.
type monitor struct{}

func (monitor) Start(command *exec.Cmd) (chan runc.Exit, error) {
	return nil, command.Start()
}

func (monitor) Wait(command *exec.Cmd, _ chan runc.Exit) (int, error) {
	err := command.Wait()
	return command.ProcessState.ExitCode(), err
}

func main() {
	runc.Monitor = monitor{}
	client := runc.Runc{
		Command:   os.Args[1],
		Root:      os.Args[2],
		Log:       filepath.Join(os.TempDir(), "eventout-client.log"),
		LogFormat: runc.JSON,
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	stats, err := client.Stats(ctx, os.Args[3])
	if err == nil && stats == nil {
		err = fmt.Errorf("no stat was provided")
	}
	var events chan *runc.Event
	if err == nil {
		events, err = client.Events(ctx, os.Args[3], time.Second)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	first := <-events
	json.NewEncoder(os.Stdout).Encode(map[string]any{"stats": stats, "first": first.Type, "id": first.ID})
}
