//! What is changed on the machine for a while.

use std::process::Command;
use std::time::Duration;
use std::{fs, path::Path, thread};

use tests::run;

/// crun refuses machines that have controllers in v1 hierarchies and in v2. Where v2 has nothing but hugetlb, this
/// moves that to v1 as long as it lives.
pub struct PureV1 {
    mounted: bool,
}

impl PureV1 {
    const DIRECTORY: &str = "/sys/fs/cgroup/hugetlb";

    pub fn new() -> Self {
        let controllers = fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
        let mounted = controllers.is_ok_and(|controllers| controllers.trim() == "hugetlb");
        if mounted {
            let _ = fs::create_dir(Self::DIRECTORY);
            let mut mount = Command::new("mount");
            mount.args(["-t", "cgroup", "-o", "hugetlb", "hugetlb", Self::DIRECTORY]);
            run(&mut mount);
        }
        Self { mounted }
    }
}

impl Drop for PureV1 {
    fn drop(&mut self) {
        // The kernel lets go of the cgroups of dead containers after a while.
        for _ in 0..if self.mounted { 50 } else { 0 } {
            let unmounted = Command::new("umount").arg(Self::DIRECTORY).output();
            if unmounted.is_ok_and(|output| output.status.success()) {
                let _ = fs::remove_dir(Self::DIRECTORY);
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

/// At least that many huge pages, as long as it lives.
pub struct HugePages {
    before: Option<String>,
}

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    pub fn new(pages: u64) -> Self {
        let before = fs::read_to_string(Self::FILE).ok();
        let number = before.as_ref().and_then(|text| text.trim().parse().ok());
        if number.is_some_and(|number: u64| number < pages) {
            fs::write(Self::FILE, pages.to_string()).expect("root may have huge pages");
        }
        Self { before }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = fs::write(Self::FILE, before);
        }
    }
}

/// Returns whether the machine has that controller where runc looks for it.
pub fn has_controller(name: &str) -> bool {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = Path::new("/sys/fs/cgroup").join(name).join("cgroup.procs");
    v2.split_ascii_whitespace().any(|other| other == name) || v1.exists()
}
