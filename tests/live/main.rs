//! Live containers of runc and crun, cgroups, and a pod of gVisor on v2, against their interface files and runtimes.

mod cgroup;
mod compare;
mod container;
mod details;
mod machine;
mod network;
mod oom;
mod pod;
mod runtimes;
mod steady;
mod suite;
mod top;
mod vm;
