//! Tasks and their limit.

use std::fs::File;

use super::dir::{CgroupDir, at, has_no_value};
use super::parse::{parse_max, parse_u64};
use crate::bindings::types::Pids;
use crate::error::{Result, bail};
use crate::linux::file::{self, LARGEST, is_absent};

/// The deepest cgroup below a container's whose tasks are counted.
const DEEPEST: usize = 500;

/// The largest number of cgroups, the container's own included, whose tasks are counted.
const MOST: usize = 10_000;

/// Reads the pids controller. `None` if it does not count the tasks of this cgroup.
pub(super) fn read(dir: &mut CgroupDir) -> Option<Pids> {
    let current = dir.read("pids.current", parse_u64)?;
    let limit = dir.read("pids.max", parse_max);
    Some(Pids {
        current: Some(current),
        limit: limit.filter(|max| *max < u64::MAX),
    })
}

/// Counts the tasks in a cgroup and the cgroups in it. `None` if there is no such list.
pub(super) fn count_tasks(dir: &mut CgroupDir, list: &str) -> Option<u64> {
    let result = count(dir, list, 0, &mut 0);
    result.unwrap_or_else(|error| {
        dir.failure.get_or_insert(error);
        None
    })
}

fn count(dir: &CgroupDir, list: &str, depth: usize, cgroups: &mut usize) -> Result<Option<u64>> {
    if depth > DEEPEST {
        bail!(Source, "there are more than {DEEPEST} levels of cgroups");
    }
    *cgroups += 1;
    if *cgroups > MOST {
        bail!(Source, "there are more than {MOST} cgroups");
    }
    // Each read of a list returns no more than a page of it, whatever room there is (the kernel's seq_read_iter).
    let text = dir.open_file(list).map(File::from);
    let text = match text.and_then(|file| file::read(file, LARGEST)) {
        Err(e) if has_no_value(&e) => return Ok(None),
        text => at(&dir.path.join(list), text)?,
    };
    let lines = text.split(|byte| *byte == b'\n');
    let mut tasks = lines.filter(|line| !line.is_empty()).count() as u64;
    let children = match dir.children() {
        Err(e) if is_absent(&e) => return Ok(Some(tasks)),
        children => children?,
    };
    for name in children {
        // A cgroup that has gone since has no tasks.
        if let Some(child) = dir.open_child(&name)? {
            tasks += count(&child, list, depth + 1, cgroups)?.unwrap_or(0);
        }
    }
    Ok(Some(tasks))
}

#[cfg(test)]
mod tests {

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn tasks_are_counted_however_deep_they_are() {
        let test = tempdir().expect("a directory");
        write(&test, "tasks", "1\n2\n");
        write(&test, "a/tasks", "3\n");
        write(&test, "a/b/tasks", "4\n5\n");
        write(&test, "other/cgroup.procs", "6\n");
        let dir = CgroupDir::open(test.path());
        let mut dir = dir.expect("it can be read").expect("a directory");
        assert_eq!(count_tasks(&mut dir, "tasks"), Some(5));
        assert_eq!(count_tasks(&mut dir, "cgroup.threads"), None);
        assert!(dir.failure.is_none());
    }
}
