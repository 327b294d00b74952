// The judge of the goldens: gVisor's event, computed and encoded by Go itself.
//
//	go run judge.go stats|event-out <SCENARIO >LINES
//	go run judge.go check <LINES
//	go run judge.go not-found <STRINGS >LINES
//
// It reads a scenario and prints a line for each container at each instant: what `runsc events` would
// print (stats), or the EventOut that the sentry hands out (event-out). Or it reads lines that somebody
// else printed, refuses what is not in gVisor's schema, and prints how many there were (check). Or it
// reads IDs as strings of JSON, and prints gVisor's error for each (not-found). The types are those of
// gVisor's runsc/boot/events.go, field by field; the rules are those of containerManager.Event there
// and of populateStats in runsc/container/container.go. Where the host measured a container alone, its
// figures take the place of the computed ones.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
)

type EventOut struct {
	Event          Event             `json:"event"`
	ContainerUsage map[string]uint64 `json:"containerUsage"`
}

type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data Stats  `json:"data"`
}

type Stats struct {
	CPU    CPU    `json:"cpu"`
	Memory Memory `json:"memory"`
	Pids   Pids   `json:"pids"`
}

type Pids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type MemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type Memory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     MemoryEntry       `json:"usage,omitempty"`
	Swap      MemoryEntry       `json:"swap,omitempty"`
	Kernel    MemoryEntry       `json:"kernel,omitempty"`
	KernelTCP MemoryEntry       `json:"kernelTCP,omitempty"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
}

type CPU struct {
	Usage CPUUsage `json:"usage"`
}

type CPUUsage struct {
	Kernel uint64   `json:"kernel,omitempty"`
	User   uint64   `json:"user,omitempty"`
	Total  uint64   `json:"total,omitempty"`
	PerCPU []uint64 `json:"percpu,omitempty"`
}

// Instant is a line of a scenario.
type Instant struct {
	Root        string  `json:"root"`
	MemoryBytes uint64  `json:"memory_bytes"`
	CgroupCPUNs *uint64 `json:"cgroup_cpu_ns"`
	Containers  []struct {
		ID    string          `json:"id"`
		Pids  uint64          `json:"pids"`
		CPUNs *uint64         `json:"cpu_ns"`
		Stats json.RawMessage `json:"stats"`
		Error string          `json:"error"`
	} `json:"containers"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	var err error
	switch mode := os.Args[1]; mode {
	case "stats", "event-out":
		err = judge(mode, in, out)
	case "check":
		err = check(in, out)
	case "not-found":
		err = notFound(in, out)
	default:
		err = fmt.Errorf("no mode %q", mode)
	}
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func judge(mode string, in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	encoder := json.NewEncoder(out)
	for {
		var instant Instant
		if err := decoder.Decode(&instant); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for _, c := range instant.Containers {
			if c.Error != "" {
				continue
			}
			event := event(&instant, c.ID, c.Pids)
			var line any = event
			if mode == "stats" {
				populateStats(&instant, event, c.ID)
				if c.Stats != nil {
					// Decoding leaves alone what the text does not mention.
					if err := json.Unmarshal(c.Stats, &event.Event.Data); err != nil {
						return err
					}
				}
				line = event.Event
			}
			if err := encoder.Encode(line); err != nil {
				return err
			}
		}
	}
}

func check(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	for n := 0; ; n++ {
		var event Event
		err := decoder.Decode(&event)
		if err == io.EOF {
			fmt.Fprintln(out, n)
			return nil
		}
		if err == nil && event.Type != "stats" {
			err = fmt.Errorf("event of type %q", event.Type)
		}
		if err != nil {
			return err
		}
	}
}

func notFound(in io.Reader, out io.Writer) error {
	decoder := json.NewDecoder(in)
	for {
		var id string
		if err := decoder.Decode(&id); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		// As in runsc/boot/loader.go.
		fmt.Fprintln(out, fmt.Errorf("container %q not found", id))
	}
}

func event(in *Instant, cid string, pids uint64) *EventOut {
	out := &EventOut{
		Event: Event{
			ID:   cid,
			Type: "stats",
		},
	}
	out.Event.Data.Pids.Current = pids
	totalUsage := in.MemoryBytes
	switch containers := len(in.Containers); containers {
	case 1:
	default:
		if cid == in.Root {
			totalUsage = 0
		} else {
			totalUsage /= uint64(containers - 1)
		}
	}
	out.Event.Data.Memory.Usage.Usage = totalUsage
	out.ContainerUsage = make(map[string]uint64)
	for _, c := range in.Containers {
		if c.CPUNs != nil {
			out.ContainerUsage[c.ID] = *c.CPUNs
		}
	}
	return out
}

func populateStats(in *Instant, out *EventOut, cid string) {
	containerUsage := out.ContainerUsage[cid]
	var allContainersUsage uint64
	for _, v := range out.ContainerUsage {
		allContainersUsage += v
	}
	total := &out.Event.Data.CPU.Usage.Total
	numContainers := uint64(len(out.ContainerUsage))
	if numContainers == 0 {
		*total = 0
		return
	}
	if in.CgroupCPUNs == nil || *in.CgroupCPUNs == 0 {
		*total = containerUsage
		return
	}
	cgroupsUsage := *in.CgroupCPUNs
	if allContainersUsage == 0 {
		allContainersUsage = cgroupsUsage
		containerUsage = cgroupsUsage / numContainers
	}
	product := float64(containerUsage) * (float64(cgroupsUsage) / float64(allContainersUsage))
	// What becomes of 2^64 and more, Go leaves to the machine. eventout defines it.
	if product >= math.MaxUint64 {
		*total = math.MaxUint64
		return
	}
	*total = uint64(product)
}
