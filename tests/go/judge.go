// The judge of the goldens: gVisor's event, computed and encoded by Go itself.
//
//	go run judge.go stats|event-out|runc <SCENARIO >LINES
//	go run judge.go check|check-runc <LINES
//	go run judge.go not-found|oom <STRINGS >LINES
//	go run judge.go race <SCENARIO
//
// The first three modes read a scenario (docs/scenarios.md) and print a line for each container of each
// sandbox in each sample: what `runsc events` prints (stats), the EventOut that the sentry returns
// (event-out), or what `runc events` prints (runc). Containers with an error are skipped.
//
// The modes check and check-runc read lines that another program printed, fail at the first one that is not
// in gVisor's or runc's schema, and print the number of lines. The modes not-found and oom read IDs, each a
// string of JSON, and print gVisor's error or runc's OOM event for each. The mode race encodes the EventOut of
// one container again and again, and prints the nanoseconds that one event took in the fastest round.
//
// The types of gVisor are those of runsc/boot/events.go, and the types of runc those of types/events.go,
// field by field. The rules are those of containerManager.Event in the former and of populateStats in
// runsc/container/container.go. Each value that the host measured replaces the one that is computed, and a
// value that is not known is Go's zero value.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"time"
)

// Sample is a line of a scenario: a sandbox, or an array of sandboxes.
type Sample []Snapshot

func (s *Sample) UnmarshalJSON(data []byte) error {
	if data[0] == '[' {
		return unmarshal(data, (*[]Snapshot)(s))
	}
	*s = make(Sample, 1)
	return unmarshal(data, &(*s)[0])
}

// Snapshot holds the facts about one sandbox.
type Snapshot struct {
	Format         string      `json:"format"`
	RootContainer  string      `json:"root_container"`
	MemoryUsage    *uint64     `json:"memory_usage"`
	CgroupCPUUsage *uint64     `json:"cgroup_cpu_usage"`
	Containers     []Container `json:"containers"`
}

type Container struct {
	ID        string  `json:"id"`
	PidsCount uint64  `json:"pids_count"`
	CPUUsage  *uint64 `json:"cpu_usage"`
	Stats     *Stats  `json:"stats"`
	Error     string  `json:"error"`
	// No component sees it.
	Details json.RawMessage `json:"details"`
}

// Stats is the record `stats` of wit/types.wit, and the types after it are the records in it.
type Stats struct {
	CPU               CPU                `json:"cpu"`
	CPUSet            CPUSet             `json:"cpuset"`
	Memory            Memory             `json:"memory"`
	Pids              Pids               `json:"pids"`
	Blkio             Blkio              `json:"blkio"`
	Hugetlb           []pair[Hugetlb]    `json:"hugetlb"`
	NetworkInterfaces []NetworkInterface `json:"network_interfaces"`
}

type CPU struct {
	Usage      CPUUsage   `json:"usage"`
	Throttling Throttling `json:"throttling"`
	PSI        *PSI       `json:"psi"`
}

type CPUUsage struct {
	Kernel       *uint64  `json:"kernel"`
	User         *uint64  `json:"user"`
	Total        *uint64  `json:"total"`
	Percpu       []uint64 `json:"percpu"`
	PercpuKernel []uint64 `json:"percpu_kernel"`
	PercpuUser   []uint64 `json:"percpu_user"`
}

type Throttling struct {
	Periods          *uint64 `json:"periods"`
	ThrottledPeriods *uint64 `json:"throttled_periods"`
	ThrottledTime    *uint64 `json:"throttled_time"`
}

type PSI struct {
	Some PSIData `json:"some"`
	Full PSIData `json:"full"`
}

// PSIData has averages in hundredths of a percent.
type PSIData struct {
	Avg10  uint32 `json:"avg10"`
	Avg60  uint32 `json:"avg60"`
	Avg300 uint32 `json:"avg300"`
	Total  uint64 `json:"total"`
}

type CPUSet struct {
	CPUs                  []uint16 `json:"cpus"`
	CPUExclusive          *bool    `json:"cpu_exclusive"`
	Mems                  []uint16 `json:"mems"`
	MemHardwall           *bool    `json:"mem_hardwall"`
	MemExclusive          *bool    `json:"mem_exclusive"`
	MemoryMigrate         *bool    `json:"memory_migrate"`
	MemorySpreadPage      *bool    `json:"memory_spread_page"`
	MemorySpreadSlab      *bool    `json:"memory_spread_slab"`
	MemoryPressure        *uint64  `json:"memory_pressure"`
	SchedLoadBalance      *bool    `json:"sched_load_balance"`
	SchedRelaxDomainLevel *int64   `json:"sched_relax_domain_level"`
}

type Memory struct {
	Cache     *uint64        `json:"cache"`
	Usage     MemoryEntry    `json:"usage"`
	Swap      MemoryEntry    `json:"swap"`
	Kernel    MemoryEntry    `json:"kernel"`
	KernelTCP MemoryEntry    `json:"kernel_tcp"`
	Raw       []pair[uint64] `json:"raw"`
	PSI       *PSI           `json:"psi"`
}

type MemoryEntry struct {
	Limit   *uint64 `json:"limit"`
	Usage   *uint64 `json:"usage"`
	Max     *uint64 `json:"max"`
	Failcnt *uint64 `json:"failcnt"`
}

type Pids struct {
	Current *uint64 `json:"current"`
	Limit   *uint64 `json:"limit"`
}

type Blkio struct {
	Entries []BlkioEntry `json:"entries"`
	PSI     *PSI         `json:"psi"`
}

type BlkioEntry struct {
	Major          uint64  `json:"major"`
	Minor          uint64  `json:"minor"`
	Op             string  `json:"op"`
	IoServiceBytes *uint64 `json:"io_service_bytes"`
	IoServiced     *uint64 `json:"io_serviced"`
	IoQueued       *uint64 `json:"io_queued"`
	IoServiceTime  *uint64 `json:"io_service_time"`
	IoWaitTime     *uint64 `json:"io_wait_time"`
	IoMerged       *uint64 `json:"io_merged"`
	IoTime         *uint64 `json:"io_time"`
	Sectors        *uint64 `json:"sectors"`
}

type Hugetlb struct {
	Usage   *uint64 `json:"usage"`
	Max     *uint64 `json:"max"`
	Failcnt *uint64 `json:"failcnt"`
}

type NetworkInterface struct {
	Name      string `json:"name"`
	RxBytes   uint64 `json:"rx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	RxErrors  uint64 `json:"rx_errors"`
	RxDropped uint64 `json:"rx_dropped"`
	TxBytes   uint64 `json:"tx_bytes"`
	TxPackets uint64 `json:"tx_packets"`
	TxErrors  uint64 `json:"tx_errors"`
	TxDropped uint64 `json:"tx_dropped"`
}

// pair is a tuple of a name and a value, an array in JSON.
type pair[V any] struct {
	name  string
	value V
}

func (p *pair[V]) UnmarshalJSON(data []byte) error {
	var items []json.RawMessage
	if err := unmarshal(data, &items); err != nil {
		return err
	}
	if len(items) != 2 {
		return fmt.Errorf("%d items in a tuple of 2", len(items))
	}
	if err := unmarshal(items[0], &p.name); err != nil {
		return err
	}
	return unmarshal(items[1], &p.value)
}

// unmarshal is json.Unmarshal without unknown keys. DisallowUnknownFields of an outer decoder has no effect
// inside a method UnmarshalJSON.
func unmarshal(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v)
}

// GVisorEventOut is the EventOut of runsc/boot/events.go.
type GVisorEventOut struct {
	Event          GVisorEvent       `json:"event"`
	ContainerUsage map[string]uint64 `json:"containerUsage"`
}

type GVisorEvent struct {
	Type string      `json:"type"`
	ID   string      `json:"id"`
	Data GVisorStats `json:"data"`
}

type GVisorStats struct {
	CPU    GVisorCPU    `json:"cpu"`
	Memory GVisorMemory `json:"memory"`
	Pids   GVisorPids   `json:"pids"`
}

type GVisorPids struct {
	Current uint64 `json:"current,omitempty"`
	Limit   uint64 `json:"limit,omitempty"`
}

type GVisorMemoryEntry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type GVisorMemory struct {
	Cache     uint64            `json:"cache,omitempty"`
	Usage     GVisorMemoryEntry `json:"usage,omitempty"`
	Swap      GVisorMemoryEntry `json:"swap,omitempty"`
	Kernel    GVisorMemoryEntry `json:"kernel,omitempty"`
	KernelTCP GVisorMemoryEntry `json:"kernelTCP,omitempty"`
	Raw       map[string]uint64 `json:"raw,omitempty"`
}

type GVisorCPU struct {
	Usage GVisorCPUUsage `json:"usage"`
}

type GVisorCPUUsage struct {
	Kernel uint64   `json:"kernel,omitempty"`
	User   uint64   `json:"user,omitempty"`
	Total  uint64   `json:"total,omitempty"`
	PerCPU []uint64 `json:"percpu,omitempty"`
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
	Pids              RuncPids               `json:"pids"`
	Blkio             RuncBlkio              `json:"blkio"`
	Hugetlb           map[string]RuncHugetlb `json:"hugetlb"`
	IntelRdt          RuncIntelRdt           `json:"intel_rdt"`
	NetworkInterfaces []*RuncInterface       `json:"network_interfaces"`
}

// In runc, a pointer with a comment here is a struct with `omitzero`, which Go has since 1.24: it is left out
// if it is zero. See nonZero.

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
	Usage     *RuncMemoryEntry  `json:"usage,omitempty"`     // omitzero
	Swap      *RuncMemoryEntry  `json:"swap,omitempty"`      // omitzero
	Kernel    *RuncMemoryEntry  `json:"kernel,omitempty"`    // omitzero
	KernelTCP *RuncMemoryEntry  `json:"kernelTCP,omitempty"` // omitzero
	Raw       map[string]uint64 `json:"raw,omitempty"`
	PSI       *RuncPSI          `json:"psi,omitempty"`
}

// gVisor copied these types from runc.
type (
	RuncPids        = GVisorPids
	RuncMemoryEntry = GVisorMemoryEntry
)

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

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	var err error
	switch mode := os.Args[1]; mode {
	case "stats":
		err = eachContainer(in, func(s *Snapshot, c *Container) error {
			return encoder.Encode(&GVisorEvent{Type: "stats", ID: c.ID, Data: stats(s, c).gvisor()})
		})
	case "event-out":
		err = eachContainer(in, func(s *Snapshot, c *Container) error {
			return encoder.Encode(event(s, c))
		})
	case "runc":
		err = eachContainer(in, func(s *Snapshot, c *Container) error {
			return encoder.Encode(&RuncEvent{Type: "stats", ID: c.ID, Data: stats(s, c).runc()})
		})
	case "check":
		err = check(in, out, func(e *GVisorEvent) string { return e.Type })
	case "check-runc":
		err = check(in, out, func(e *RuncEvent) string { return e.Type })
	case "not-found":
		// The error is that of runsc/boot/loader.go.
		err = eachValue(in, func(id string) error {
			_, err := fmt.Fprintln(out, fmt.Errorf("container %q not found", id))
			return err
		})
	case "oom":
		err = eachValue(in, func(id string) error {
			return encoder.Encode(&RuncEvent{Type: "oom", ID: id})
		})
	case "race":
		err = race(in, out)
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

// eachValue calls do with each value of a stream of JSON, until there is an error.
func eachValue[V any](in io.Reader, do func(V) error) error {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	for {
		var value V
		if err := decoder.Decode(&value); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := do(value); err != nil {
			return err
		}
	}
}

// eachContainer calls do with each container of a scenario that has no error.
func eachContainer(in io.Reader, do func(*Snapshot, *Container) error) error {
	return eachValue(in, func(sample Sample) error {
		for i := range sample {
			snapshot := &sample[i]
			for j := range snapshot.Containers {
				container := &snapshot.Containers[j]
				if container.Error != "" {
					continue
				}
				if err := do(snapshot, container); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func check[E any](in io.Reader, out io.Writer, eventType func(*E) string) error {
	n := 0
	err := eachValue(in, func(event E) error {
		if t := eventType(&event); t != "stats" {
			return fmt.Errorf("event of type %q", t)
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, n)
	return err
}

// race measures the last container of the first sandbox in the first sample: all that the sentry does for an
// event once it has the facts.
func race(in io.Reader, out io.Writer) error {
	var sample Sample
	if err := json.NewDecoder(in).Decode(&sample); err != nil {
		return err
	}
	if len(sample) == 0 || len(sample[0].Containers) == 0 {
		return errors.New("no container")
	}
	snapshot := &sample[0]
	last := &snapshot.Containers[len(snapshot.Containers)-1]
	best := math.Inf(1)
	for round := 0; round < 20; round++ {
		start := time.Now()
		n := 0
		for time.Since(start) < 10*time.Millisecond {
			// Several events at a time, since reading the clock takes time too.
			for i := 0; i < 4; i++ {
				if _, err := json.Marshal(event(snapshot, last)); err != nil {
					return err
				}
			}
			n += 4
		}
		best = math.Min(best, float64(time.Since(start))/float64(n))
	}
	_, err := fmt.Fprintln(out, best)
	return err
}

// event is containerManager.Event.
func event(s *Snapshot, c *Container) *GVisorEventOut {
	out := &GVisorEventOut{
		Event: GVisorEvent{
			ID:   c.ID,
			Type: "stats",
		},
	}
	out.Event.Data.Pids.Current = c.PidsCount
	totalUsage := orZero(s.MemoryUsage)
	if containers := uint64(len(s.Containers)); containers > 1 {
		if c.ID == s.RootContainer {
			totalUsage = 0
		} else {
			totalUsage /= containers - 1
		}
	}
	out.Event.Data.Memory.Usage.Usage = totalUsage
	out.ContainerUsage = make(map[string]uint64)
	for i := range s.Containers {
		if listed := &s.Containers[i]; listed.CPUUsage != nil {
			out.ContainerUsage[listed.ID] = *listed.CPUUsage
		}
	}
	return out
}

func populateStats(s *Snapshot, c *Container, out *GVisorEventOut) {
	containerUsage := out.ContainerUsage[c.ID]
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
	cgroupsUsage := orZero(s.CgroupCPUUsage)
	if cgroupsUsage == 0 {
		*total = containerUsage
		return
	}
	if allContainersUsage == 0 {
		allContainersUsage = cgroupsUsage
		containerUsage = cgroupsUsage / numContainers
	}
	product := float64(containerUsage) * (float64(cgroupsUsage) / float64(allContainersUsage))
	// In Go, the conversion of 2^64 and more depends on the machine. The contract defines it.
	if product >= math.MaxUint64 {
		*total = math.MaxUint64
		return
	}
	*total = uint64(product)
}

// stats returns the statistics that the host measured for the container, and the computed ones where it
// measured none.
func stats(s *Snapshot, c *Container) *Stats {
	out := event(s, c)
	populateStats(s, c, out)
	stats, computed := orZero(c.Stats), &out.Event.Data
	setDefault(&stats.CPU.Usage.Total, computed.CPU.Usage.Total)
	setDefault(&stats.Memory.Usage.Usage, computed.Memory.Usage.Usage)
	setDefault(&stats.Pids.Current, computed.Pids.Current)
	return &stats
}

func (s *Stats) gvisor() GVisorStats {
	return GVisorStats{
		CPU: GVisorCPU{
			Usage: GVisorCPUUsage{
				Kernel: orZero(s.CPU.Usage.Kernel),
				User:   orZero(s.CPU.Usage.User),
				Total:  orZero(s.CPU.Usage.Total),
				PerCPU: s.CPU.Usage.Percpu,
			},
		},
		Memory: GVisorMemory{
			Cache:     orZero(s.Memory.Cache),
			Usage:     s.Memory.Usage.gvisor(),
			Swap:      s.Memory.Swap.gvisor(),
			Kernel:    s.Memory.Kernel.gvisor(),
			KernelTCP: s.Memory.KernelTCP.gvisor(),
			Raw:       toMap(s.Memory.Raw, identity[uint64]),
		},
		Pids: s.Pids.gvisor(),
	}
}

func (e MemoryEntry) gvisor() GVisorMemoryEntry {
	return GVisorMemoryEntry{
		Limit:   orZero(e.Limit),
		Usage:   orZero(e.Usage),
		Max:     orZero(e.Max),
		Failcnt: orZero(e.Failcnt),
	}
}

func (p Pids) gvisor() GVisorPids {
	return GVisorPids{
		Current: orZero(p.Current),
		Limit:   orZero(p.Limit),
	}
}

func (s *Stats) runc() *RuncStats {
	stats := &RuncStats{
		CPU: RuncCPU{
			Usage: nonZero(RuncCPUUsage{
				Total:        orZero(s.CPU.Usage.Total),
				Percpu:       nilIfEmpty(s.CPU.Usage.Percpu),
				PercpuKernel: nilIfEmpty(s.CPU.Usage.PercpuKernel),
				PercpuUser:   nilIfEmpty(s.CPU.Usage.PercpuUser),
				Kernel:       orZero(s.CPU.Usage.Kernel),
				User:         orZero(s.CPU.Usage.User),
			}),
			Throttling: nonZero(RuncThrottling{
				Periods:          orZero(s.CPU.Throttling.Periods),
				ThrottledPeriods: orZero(s.CPU.Throttling.ThrottledPeriods),
				ThrottledTime:    orZero(s.CPU.Throttling.ThrottledTime),
			}),
			PSI: s.CPU.PSI.runc(),
		},
		CPUSet: s.CPUSet.runc(),
		Memory: RuncMemory{
			Cache:     orZero(s.Memory.Cache),
			Usage:     nonZero(s.Memory.Usage.gvisor()),
			Swap:      nonZero(s.Memory.Swap.gvisor()),
			Kernel:    nonZero(s.Memory.Kernel.gvisor()),
			KernelTCP: nonZero(s.Memory.KernelTCP.gvisor()),
			Raw:       toMap(s.Memory.Raw, identity[uint64]),
			PSI:       s.Memory.PSI.runc(),
		},
		Pids:    s.Pids.gvisor(),
		Blkio:   s.Blkio.runc(),
		Hugetlb: toMap(s.Hugetlb, Hugetlb.runc),
	}
	for _, i := range s.NetworkInterfaces {
		// The two types differ only in their tags.
		converted := RuncInterface(i)
		stats.NetworkInterfaces = append(stats.NetworkInterfaces, &converted)
	}
	return stats
}

func (p *PSI) runc() *RuncPSI {
	if p == nil {
		return nil
	}
	return &RuncPSI{
		Some: nonZero(p.Some.runc()),
		Full: nonZero(p.Full.runc()),
	}
}

func (d PSIData) runc() RuncPSIData {
	return RuncPSIData{
		Avg10:  float64(d.Avg10) / 100,
		Avg60:  float64(d.Avg60) / 100,
		Avg300: float64(d.Avg300) / 100,
		Total:  d.Total,
	}
}

func (s CPUSet) runc() RuncCPUSet {
	return RuncCPUSet{
		CPUs:                  s.CPUs,
		CPUExclusive:          flag(s.CPUExclusive),
		Mems:                  s.Mems,
		MemHardwall:           flag(s.MemHardwall),
		MemExclusive:          flag(s.MemExclusive),
		MemoryMigrate:         flag(s.MemoryMigrate),
		MemorySpreadPage:      flag(s.MemorySpreadPage),
		MemorySpreadSlab:      flag(s.MemorySpreadSlab),
		MemoryPressure:        orZero(s.MemoryPressure),
		SchedLoadBalance:      flag(s.SchedLoadBalance),
		SchedRelaxDomainLevel: orZero(s.SchedRelaxDomainLevel),
	}
}

func (b Blkio) runc() RuncBlkio {
	blkio := RuncBlkio{PSI: b.PSI.runc()}
	for _, e := range b.Entries {
		for _, list := range []struct {
			entries *[]RuncBlkioEntry
			value   *uint64
		}{
			{&blkio.IoServiceBytesRecursive, e.IoServiceBytes},
			{&blkio.IoServicedRecursive, e.IoServiced},
			{&blkio.IoQueuedRecursive, e.IoQueued},
			{&blkio.IoServiceTimeRecursive, e.IoServiceTime},
			{&blkio.IoWaitTimeRecursive, e.IoWaitTime},
			{&blkio.IoMergedRecursive, e.IoMerged},
			{&blkio.IoTimeRecursive, e.IoTime},
			{&blkio.SectorsRecursive, e.Sectors},
		} {
			if list.value != nil {
				entry := RuncBlkioEntry{Major: e.Major, Minor: e.Minor, Op: e.Op, Value: *list.value}
				*list.entries = append(*list.entries, entry)
			}
		}
	}
	return blkio
}

func (h Hugetlb) runc() RuncHugetlb {
	return RuncHugetlb{
		Usage:   orZero(h.Usage),
		Max:     orZero(h.Max),
		Failcnt: orZero(h.Failcnt),
	}
}

// orZero returns the value, or Go's zero value for one that is not known.
func orZero[V any](value *V) V {
	if value == nil {
		var zero V
		return zero
	}
	return *value
}

// setDefault sets a value that is not known.
func setDefault[V any](value **V, v V) {
	if *value == nil {
		*value = &v
	}
}

// nonZero returns nil for a zero value, which `omitempty` then leaves out as `omitzero` would.
func nonZero[V any](value V) *V {
	if reflect.ValueOf(value).IsZero() {
		return nil
	}
	return &value
}

// nilIfEmpty makes an empty slice a zero value for nonZero: the contract does not tell it from none.
func nilIfEmpty[V any](list []V) []V {
	if len(list) == 0 {
		return nil
	}
	return list
}

func flag(value *bool) uint64 {
	if orZero(value) {
		return 1
	}
	return 0
}

// toMap returns the map of the pairs, of which the last one of a name counts.
func toMap[V, W any](pairs []pair[V], convert func(V) W) map[string]W {
	m := make(map[string]W, len(pairs))
	for _, p := range pairs {
		m[p.name] = convert(p.value)
	}
	return m
}

func identity[V any](value V) V {
	return value
}
