//! What is changed on the machine for a while.

use std::fs;
use std::path::Path;

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
