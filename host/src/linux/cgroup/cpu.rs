//! CPU time and throttling.

use super::dir::CgroupDir;
use super::parse::{lines, parse_list, parse_max, parse_pair, parse_u64};
use crate::bindings::types::{CpuUsage, Throttling};
use crate::error::{Result, error};

/// Reads CPU time from v1's cpuacct controller.
pub(super) fn usage_v1(dir: &mut CgroupDir) -> CpuUsage {
    let stat = dir.read("cpuacct.stat", cpuacct_stat);
    let (user, kernel) = stat.unwrap_or_default();
    let percpu = dir.read("cpuacct.usage_percpu", parse_list);
    let total = match &percpu {
        // The kernel computes `cpuacct.usage` in the same way, and this is one file less to read.
        Some(percpu) => Some(percpu.iter().fold(0, |all, ns| ns.wrapping_add(all))),
        None => dir.read("cpuacct.usage", parse_u64),
    };
    let all = dir.read("cpuacct.usage_all", usage_all);
    let (percpu_user, percpu_kernel) = all.unwrap_or_default();
    CpuUsage {
        kernel,
        user,
        total,
        percpu: percpu.unwrap_or_default(),
        percpu_kernel,
        percpu_user,
    }
}

/// Reads the `cpu.stat` of v1's cpu controller, or of v2.
pub(super) fn stat(dir: &mut CgroupDir) -> (CpuUsage, Throttling) {
    dir.read("cpu.stat", cpu_stat).unwrap_or_default()
}

/// Limits of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct CpuLimits {
    /// The CPU time in each period, in microseconds. `None` if there is no limit.
    pub(crate) quota: Option<u64>,
    /// In microseconds.
    pub(crate) period: Option<u64>,
    /// The weight of v1.
    pub(crate) shares: Option<u64>,
}

/// Reads the limits of v1's cpu controller.
pub(super) fn limits_v1(dir: &mut CgroupDir) -> CpuLimits {
    CpuLimits {
        // -1 is that there is no limit.
        quota: dir.read("cpu.cfs_quota_us", parse_u64).filter(|us| *us > 0),
        period: dir.read("cpu.cfs_period_us", parse_u64),
        shares: dir.read("cpu.shares", parse_u64),
    }
}

/// Reads the limits of v2.
pub(super) fn limits_v2(dir: &mut CgroupDir) -> CpuLimits {
    dir.read("cpu.max", cpu_max).unwrap_or_default()
}

/// Parses a `cpu.max`: a quota, or `max`, and a period.
pub(super) fn cpu_max(text: &str) -> Result<CpuLimits> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next().unwrap_or_default();
    Ok(CpuLimits {
        quota: Some(parse_max(next())?).filter(|us| *us < u64::MAX),
        period: Some(parse_u64(next())?),
        shares: None,
    })
}

/// Parses user and system time in a v1 `cpuacct.stat`, and returns nanoseconds. The kernel counts in ticks of
/// 1/100 s on every machine that runc runs on.
pub(super) fn cpuacct_stat(text: &str) -> Result<(Option<u64>, Option<u64>)> {
    let (mut user, mut system) = (None, None);
    for (name, ticks) in lines(text)?.filter_map(parse_pair) {
        let ns = ticks.checked_mul(10_000_000);
        match name {
            "user" => user = ns,
            "system" => system = ns,
            _ => {}
        }
    }
    Ok((user, system))
}

/// Parses user and system time by CPU in a v1 `cpuacct.usage_all`, in nanoseconds. CPUs are known by their
/// position, so that a row cannot be skipped.
pub(super) fn usage_all(text: &str) -> Result<(Vec<u64>, Vec<u64>)> {
    let rows = lines(text)?.filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (cpu, user, system) = (columns.next()?, columns.next()?, columns.next());
        // The heading is no number.
        cpu.parse::<u64>().ok()?;
        let row = || Ok((parse_u64(user)?, parse_u64(system.unwrap_or_default())?));
        Some(row())
    });
    let rows: Result<Vec<_>> = rows.collect();
    let heading = text.lines().next().unwrap_or_default();
    let mut names = heading.split_ascii_whitespace().skip(1);
    if !heading.is_empty() && (names.next(), names.next()) != (Some("user"), Some("system")) {
        return Err(error!(Source, "it has no heading of cpu, user and system"));
    }
    Ok(rows?.into_iter().unzip())
}

/// Parses a v2 `cpu.stat`, which counts in microseconds, or a v1 one, which has throttling alone and counts in
/// nanoseconds.
pub(super) fn cpu_stat(text: &str) -> Result<(CpuUsage, Throttling)> {
    let (mut usage, mut throttling) = (CpuUsage::default(), Throttling::default());
    for (name, value) in lines(text)?.filter_map(parse_pair) {
        let factor = if name.ends_with("_usec") { 1000 } else { 1 };
        let field = match name {
            "usage_usec" => &mut usage.total,
            "user_usec" => &mut usage.user,
            "system_usec" => &mut usage.kernel,
            "nr_periods" => &mut throttling.periods,
            "nr_throttled" => &mut throttling.throttled_periods,
            "throttled_usec" | "throttled_time" => &mut throttling.throttled_time,
            _ => continue,
        };
        *field = value.checked_mul(factor);
    }
    Ok((usage, throttling))
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    #[test]
    fn cpu_time_is_nanoseconds_whatever_the_kernel_counts_in() {
        let v1 = cpuacct_stat("user 122\nnew\nsystem 358\n").expect("it is one");
        assert_eq!(v1, (Some(1_220_000_000), Some(3_580_000_000)));
        let v2 = "usage_usec 4806821\nuser_usec 1224751\nnew in linux 9\nsystem_usec 3582069\n\
            nice_usec 0\nnr_periods 66\nnr_throttled 39\nthrottled_usec 3252804\n";
        let (usage, throttling) = cpu_stat(v2).expect("it is one");
        assert_eq!(usage.total, Some(4_806_821_000));
        assert_eq!(usage.user, Some(1_224_751_000));
        assert_eq!(usage.kernel, Some(3_582_069_000));
        assert_eq!(throttling.periods, Some(66));
        assert_eq!(throttling.throttled_periods, Some(39));
        assert_eq!(throttling.throttled_time, Some(3_252_804_000));
        let v1 = cpu_stat("nr_periods 2\nnr_throttled 1\nthrottled_time 5\n");
        assert_eq!(v1.expect("it is one").1.throttled_time, Some(5));
        assert_eq!(cpu_stat("").expect("it is empty"), Default::default());
        assert_eq!(parse_list("1 2\n").expect("they are"), [1, 2]);
        assert!(parse_list("1 x").is_err());
    }

    #[test]
    fn a_time_that_is_out_of_range_costs_itself() {
        let text = "usage_usec 18446744073709552\nuser_usec x\nsystem_usec 1\n";
        let (usage, _) = cpu_stat(text).expect("it is one");
        assert_eq!(
            (usage.total, usage.user, usage.kernel),
            (None, None, Some(1000))
        );
        let stat = cpuacct_stat("user 1844674407371\nsystem 1\n").expect("it is one");
        assert_eq!(stat, (None, Some(10_000_000)));
    }

    #[test]
    fn a_quota_that_is_not_set_is_none() {
        let max = |text: &str| cpu_max(text).map(|limits| (limits.quota, limits.period));
        let set = max("30000 100000\n").expect("it is one");
        assert_eq!(set, (Some(30_000), Some(100_000)));
        let unset = max("max 100000\n").expect("it is one");
        assert_eq!(unset, (None, Some(100_000)));
        for broken in ["", "max", "x 100000", "1 x"] {
            assert!(max(broken).is_err(), "{broken:?}");
        }
        let test = tempdir().expect("a directory");
        write(&test, "cpu.cfs_quota_us", "-1\n");
        write(&test, "cpu.cfs_period_us", "100000\n");
        write(&test, "cpu.shares", "1024\n");
        let dir = CgroupDir::open(test.path()).expect("it can be read");
        let limits = limits_v1(&mut dir.expect("a directory"));
        let expected = CpuLimits {
            quota: None,
            period: Some(100_000),
            shares: Some(1024),
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn time_on_each_cpu_is_reported_by_mode() {
        // The kernel of a v1 machine, and one that reports more.
        for text in [
            "cpu user system\n0 1 2\n1 3 4\n",
            "cpu user system guest\n0 1 2 9\n1 3 4 9\n",
            "cpu user system\n0 1 2\n\n1 3 4\nx\n",
        ] {
            let usage = usage_all(text).expect("it is one");
            assert_eq!(usage, (vec![1, 3], vec![2, 4]), "{text:?}");
        }
        assert_eq!(usage_all("").expect("it is empty"), Default::default());
        for broken in [
            "0 1 2\n",
            "cpu user system\n0 x 1\n",
            "cpu user system\n0 1\n",
        ] {
            assert!(usage_all(broken).is_err(), "{broken:?}");
        }
    }
}
