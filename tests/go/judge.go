// The judge of the goldens: gVisor's event, computed and encoded by Go itself.
//
//	go run judge.go stats|event-out|runc <SCENARIO >LINES
//	go run judge.go check|check-runc <LINES
//	go run judge.go not-found|oom <STRINGS >LINES
//	go run judge.go printable
//	go run judge.go race <SCENARIO
//
// It reads a scenario and prints a line for each container at each instant: what `runsc events` would
// print (stats), the EventOut that the sentry hands out (event-out), or what `runc events` would print
// (runc). Or it reads lines that somebody else printed, refuses what is not in gVisor's or runc's schema,
// and prints how many there were (check, check-runc). Or it reads IDs as strings of JSON, and prints
// gVisor's error for each (not-found), or runc's line for a container that ran out of memory (oom). Or it
// prints which characters Go holds printable (printable). Or it makes the EventOut of the last container of a
// scenario, map and JSON, again and again for a moment, and prints how many nanoseconds the fastest of
// several rounds took for one (race).
//
// The types are those of gVisor's runsc/boot/events.go and of runc's types/events.go, field by field; the
// rules are those of containerManager.Event in the former and of populateStats in
// runsc/container/container.go. Where the host measured a container alone, its figures take the place of
// the computed ones.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"strconv"
	"time"
	"unicode"
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

// RuncEvent is the Event of runc's types/events.go.
type RuncEvent struct {
	Type string     `json:"type"`
	ID   string     `json:"id"`
	Data *RuncStats `json:"data,omitempty"`
}

type RuncStats struct {
	CPU               RuncCPU                `json:"cpu"`
	CPUSet            RuncCPUSet             `json:"cpuset"`
	Memory            RuncMemory             `json:"memory"`
	Pids              Pids                   `json:"pids"`
	Blkio             RuncBlkio              `json:"blkio"`
	Hugetlb           map[string]RuncHugetlb `json:"hugetlb"`
	IntelRdt          RuncIntelRdt           `json:"intel_rdt"`
	NetworkInterfaces []*RuncInterface       `json:"network_interfaces"`
}

// What is a pointer with a comment is a struct with `omitzero` there, which Go has had since 1.24: it is
// left out where it is zero. See omitZero.

type RuncCPU struct {
	Usage      *RuncCPUUsage   `json:"usage,omitempty"`      // omitzero
	Throttling *RuncThrottling `json:"throttling,omitempty"` // omitzero
	PSI        *RuncPSI        `json:"psi,omitempty"`
}

type RuncCPUUsage struct {
	Total        uint64   `json:"total,omitempty"`
	Percpu       []uint64 `json:"percpu,omitempty"`
	PercpuKernel []uint64 `json:"percpu_kernel,omitempty"`
	PercpuUser   []uint64 `json:"percpu_user,omitempty"`
	Kernel       uint64   `json:"kernel"`
	User         uint64   `json:"user"`
}

type RuncThrottling struct {
	Periods          uint64 `json:"periods,omitempty"`
	ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
	ThrottledTime    uint64 `json:"throttledTime,omitempty"`
}

type RuncPSI struct {
	Some *RuncPSIData `json:"some,omitempty"` // omitzero
	Full *RuncPSIData `json:"full,omitempty"` // omitzero
}

type RuncPSIData struct {
	Avg10  float64 `json:"avg10"`
	Avg60  float64 `json:"avg60"`
	Avg300 float64 `json:"avg300"`
	Total  uint64  `json:"total"`
}

type RuncCPUSet struct {
	CPUs                  []uint16 `json:"cpus,omitempty"`
	CPUExclusive          uint64   `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems,omitempty"`
	MemHardwall           uint64   `json:"mem_hardwall"`
	MemExclusive          uint64   `json:"mem_exclusive"`
	MemoryMigrate         uint64   `json:"memory_migrate"`
	MemorySpreadPage      uint64   `json:"memory_spread_page"`
	MemorySpreadSlab      uint64   `json:"memory_spread_slab"`
	MemoryPressure        uint64   `json:"memory_pressure"`
	SchedLoadBalance      uint64   `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64    `json:"sched_relax_domain_level"`
}

type RuncMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     *MemoryEntry      `json:"usage,omitempty"`     // omitzero
	Swap      *MemoryEntry      `json:"swap,omitempty"`      // omitzero
	Kernel    *MemoryEntry      `json:"kernel,omitempty"`    // omitzero
	KernelTCP *MemoryEntry      `json:"kernelTCP,omitempty"` // omitzero
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *RuncPSI          `json:"psi,omitempty"`
}

type RuncBlkioEntry struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

type RuncBlkio struct {
	IoServiceBytesRecursive []RuncBlkioEntry `json:"ioServiceBytesRecursive,omitempty"`
	IoServicedRecursive     []RuncBlkioEntry `json:"ioServicedRecursive,omitempty"`
	IoQueuedRecursive       []RuncBlkioEntry `json:"ioQueueRecursive,omitempty"`
	IoServiceTimeRecursive  []RuncBlkioEntry `json:"ioServiceTimeRecursive,omitempty"`
	IoWaitTimeRecursive     []RuncBlkioEntry `json:"ioWaitTimeRecursive,omitempty"`
	IoMergedRecursive       []RuncBlkioEntry `json:"ioMergedRecursive,omitempty"`
	IoTimeRecursive         []RuncBlkioEntry `json:"ioTimeRecursive,omitempty"`
	SectorsRecursive        []RuncBlkioEntry `json:"sectorsRecursive,omitempty"`
	PSI                     *RuncPSI         `json:"psi,omitempty"`
}

type RuncHugetlb struct {
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type RuncIntelRdt struct {
	L3CacheInfo       *RuncL3CacheInfo `json:"l3_cache_info,omitempty"`
	L3CacheSchemaRoot string           `json:"l3_cache_schema_root,omitempty"`
	L3CacheSchema     string           `json:"l3_cache_schema,omitempty"`
	MemBwInfo         *RuncMemBwInfo   `json:"mem_bw_info,omitempty"`
	MemBwSchemaRoot   string           `json:"mem_bw_schema_root,omitempty"`
	MemBwSchema       string           `json:"mem_bw_schema,omitempty"`
	Schemata          []string         `json:"schemata,omitempty"`
	MBMStats          *[]RuncMBMStats  `json:"mbm_stats,omitempty"`
	CMTStats          *[]RuncCMTStats  `json:"cmt_stats,omitempty"`
}

type RuncL3CacheInfo struct {
	CbmMask    string `json:"cbm_mask,omitempty"`
	MinCbmBits uint64 `json:"min_cbm_bits,omitempty"`
	NumClosids uint64 `json:"num_closids,omitempty"`
}

type RuncMemBwInfo struct {
	BandwidthGran uint64 `json:"bandwidth_gran,omitempty"`
	DelayLinear   uint64 `json:"delay_linear,omitempty"`
	MinBandwidth  uint64 `json:"min_bandwidth,omitempty"`
	NumClosids    uint64 `json:"num_closids,omitempty"`
}

type RuncMBMStats struct {
	MBMTotalBytes uint64 `json:"mbm_total_bytes"`
	MBMLocalBytes uint64 `json:"mbm_local_bytes"`
}

type RuncCMTStats struct {
	LLCOccupancy uint64 `json:"llc_occupancy"`
}

type RuncInterface struct {
	Name      string
	RxBytes   uint64
	RxPackets uint64
	RxErrors  uint64
	RxDropped uint64
	TxBytes   uint64
	TxPackets uint64
	TxErrors  uint64
	TxDropped uint64
}

// omitZero is what `omitzero` does. The pointers in it are set, so that decoding fills them.
func omitZero[T any](field **T) {
	if *field != nil && reflect.ValueOf(**field).IsZero() {
		*field = nil
	}
}

func (m *RuncMemory) entries() []**MemoryEntry {
	return []**MemoryEntry{&m.Usage, &m.Swap, &m.Kernel, &m.KernelTCP}
}

// runc is the event with runc's types.
func runc(out *EventOut, measured json.RawMessage) (*RuncEvent, error) {
	stats := &RuncStats{Hugetlb: map[string]RuncHugetlb{}}
	for _, entry := range stats.Memory.entries() {
		*entry = &MemoryEntry{}
	}
	stats.CPU.Usage = &RuncCPUUsage{Total: out.Event.Data.CPU.Usage.Total}
	stats.CPU.Throttling = &RuncThrottling{}
	stats.Memory.Usage.Usage = out.Event.Data.Memory.Usage.Usage
	stats.Pids.Current = out.Event.Data.Pids.Current
	if measured != nil {
		// Decoding leaves alone what the text does not mention.
		if err := json.Unmarshal(measured, stats); err != nil {
			return nil, err
		}
	}
	for _, list := range []*[]uint64{&stats.CPU.Usage.Percpu, &stats.CPU.Usage.PercpuKernel, &stats.CPU.Usage.PercpuUser} {
		// `omitzero` tells an empty list from none; the contract of eventout does not.
		if len(*list) == 0 {
			*list = nil
		}
	}
	omitZero(&stats.CPU.Usage)
	omitZero(&stats.CPU.Throttling)
	for _, entry := range stats.Memory.entries() {
		omitZero(entry)
	}
	for _, psi := range []*RuncPSI{stats.CPU.PSI, stats.Memory.PSI, stats.Blkio.PSI} {
		if psi != nil {
			omitZero(&psi.Some)
			omitZero(&psi.Full)
		}
	}
	return &RuncEvent{Type: "stats", ID: out.Event.ID, Data: stats}, nil
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	var err error
	switch mode := os.Args[1]; mode {
	case "stats", "event-out", "runc":
		err = judge(mode, in, out)
	case "race":
		err = race(in, out)
	case "check":
		err = check[Event](in, out, func(e *Event) string { return e.Type })
	case "check-runc":
		err = check[RuncEvent](in, out, func(e *RuncEvent) string { return e.Type })
	case "not-found":
		// As in runsc/boot/loader.go.
		err = eachID(in, func(id string) error {
			_, err := fmt.Fprintln(out, fmt.Errorf("container %q not found", id))
			return err
		})
	case "oom":
		encoder := json.NewEncoder(out)
		err = eachID(in, func(id string) error {
			return encoder.Encode(&RuncEvent{Type: "oom", ID: id})
		})
	case "printable":
		err = printable(out)
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

// printable prints how many characters from U+0000 on strconv.IsPrint refuses, then how many it accepts, and
// so on, each number as a varint.
func printable(out io.Writer) error {
	wanted, length := false, uint64(0)
	var runs []byte
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if strconv.IsPrint(r) != wanted {
			runs = binary.AppendUvarint(runs, length)
			wanted, length = !wanted, 0
		}
		length++
	}
	_, err := out.Write(binary.AppendUvarint(runs, length))
	return err
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
			switch mode {
			case "runc":
				populateStats(&instant, event, c.ID)
				runc, err := runc(event, c.Stats)
				if err != nil {
					return err
				}
				line = runc
			case "stats":
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

func race(in io.Reader, out io.Writer) error {
	var instant Instant
	if err := json.NewDecoder(in).Decode(&instant); err != nil {
		return err
	}
	last := instant.Containers[len(instant.Containers)-1]
	best := math.Inf(1)
	for round := 0; round < 20; round++ {
		begun := time.Now()
		n := 0
		for time.Since(begun) < 10*time.Millisecond {
			if _, err := json.Marshal(event(&instant, last.ID, last.Pids)); err != nil {
				return err
			}
			n++
		}
		best = math.Min(best, float64(time.Since(begun))/float64(n))
	}
	_, err := fmt.Fprintln(out, best)
	return err
}

func check[E any](in io.Reader, out io.Writer, kind func(*E) string) error {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	for n := 0; ; n++ {
		var event E
		err := decoder.Decode(&event)
		if err == io.EOF {
			fmt.Fprintln(out, n)
			return nil
		}
		if err == nil && kind(&event) != "stats" {
			err = fmt.Errorf("event of type %q", kind(&event))
		}
		if err != nil {
			return err
		}
	}
}

func eachID(in io.Reader, do func(id string) error) error {
	decoder := json.NewDecoder(in)
	for {
		var id string
		if err := decoder.Decode(&id); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := do(id); err != nil {
			return err
		}
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
