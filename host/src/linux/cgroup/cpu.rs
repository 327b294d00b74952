//! CPU time and throttling.

use super::dir::Folder;
use super::parse::{entry, lines, nanoseconds, number, numbers};
use crate::bindings::types::{CpuUsage, Throttling};
use crate::error::{Result, bail};

/// Reads CPU time from the folder of v1's cpuacct.
pub(super) fn usage_v1(folder: &mut Folder) -> Result<CpuUsage> {
    let mut usage = CpuUsage::default();
    let stat = folder.get("cpuacct.stat", cpuacct_stat)?;
    (usage.user, usage.kernel) = stat.unwrap_or_default();
    usage.total = match folder.get("cpuacct.usage_percpu", numbers)? {
        Some(percpu) => {
            usage.percpu = percpu;
            // What the kernel has in `cpuacct.usage`, and one file less to read.
            Some(usage.percpu.iter().fold(0, |all, ns| ns.wrapping_add(all)))
        }
        None => folder.get("cpuacct.usage", number)?,
    };
    let all = folder.get("cpuacct.usage_all", usage_all)?;
    (usage.percpu_user, usage.percpu_kernel) = all.unwrap_or_default();
    Ok(usage)
}

/// Reads the `cpu.stat` of v1's cpu controller, or of v2.
pub(super) fn stat(folder: &mut Folder) -> Result<(CpuUsage, Throttling)> {
    Ok(folder.get("cpu.stat", cpu_stat)?.unwrap_or_default())
}

/// User and system time in a v1 `cpuacct.stat`, in nanoseconds. The kernel counts in ticks of 1/100 s,
/// on every machine that runc runs on.
fn cpuacct_stat(text: &str) -> Result<(Option<u64>, Option<u64>)> {
    let (mut user, mut system) = (None, None);
    for line in lines(text, |line| {
        let (name, figure) = entry(line)?;
        Ok((name, nanoseconds(name, figure, 10_000_000)?))
    }) {
        match line? {
            ("user", ns) => user = Some(ns),
            ("system", ns) => system = Some(ns),
            _ => {}
        }
    }
    Ok((user, system))
}

/// User and system time by CPU in a v1 `cpuacct.usage_all`, in nanoseconds.
fn usage_all(text: &str) -> Result<(Vec<u64>, Vec<u64>)> {
    let mut rows = lines(text, |line| {
        let mut columns = line.split(' ').skip(1);
        Ok(match (columns.next(), columns.next()) {
            // The heading.
            (Some("user"), Some("system")) => None,
            (Some(user), Some(system)) => Some((number(user)?, number(system)?)),
            _ => None,
        })
    });
    match rows.next() {
        None => return Ok(Default::default()),
        Some(heading) => {
            if heading?.is_some() {
                bail!(Source, "it has no heading of cpu, user and system");
            }
        }
    }
    let rows: Result<Vec<_>> = rows.collect();
    Ok(rows?.into_iter().flatten().unzip())
}

/// A v2 `cpu.stat`, which counts in microseconds, or a v1 one, which has throttling alone and counts in
/// nanoseconds.
fn cpu_stat(text: &str) -> Result<(CpuUsage, Throttling)> {
    let (mut usage, mut throttling) = (CpuUsage::default(), Throttling::default());
    for line in lines(text, |line| {
        let (name, figure) = entry(line)?;
        let factor = if name.ends_with("_usec") { 1000 } else { 1 };
        Ok((name, nanoseconds(name, figure, factor)?))
    }) {
        let (name, figure) = line?;
        let field = match name {
            "usage_usec" => &mut usage.total,
            "user_usec" => &mut usage.user,
            "system_usec" => &mut usage.kernel,
            "nr_periods" => &mut throttling.periods,
            "nr_throttled" => &mut throttling.throttled_periods,
            "throttled_usec" | "throttled_time" => &mut throttling.throttled_time,
            _ => continue,
        };
        *field = Some(figure);
    }
    Ok((usage, throttling))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_nanoseconds_whatever_the_kernel_counts_in() {
        let v1 = cpuacct_stat("user 122\nsystem 358\n").expect("it is one");
        assert_eq!(v1, (Some(1_220_000_000), Some(3_580_000_000)));
        let v2 = "usage_usec 4806821\nuser_usec 1224751\nsystem_usec 3582069\nnice_usec 0\n\
            nr_periods 66\nnr_throttled 39\nthrottled_usec 3252804\n";
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
        assert!(cpu_stat("usage_usec 18446744073709552\n").is_err());
        assert!(cpuacct_stat("user 1844674407371\n").is_err());
        assert_eq!(numbers("1 2\n").expect("they are"), [1, 2]);
        assert!(numbers("1 x").is_err());
    }

    #[test]
    fn time_on_each_cpu_is_told_by_mode() {
        // The kernel of a v1 machine, and one that tells more.
        for text in [
            "cpu user system\n0 1 2\n1 3 4\n",
            "cpu user system guest\n0 1 2 9\n1 3 4 9\n",
            "cpu user system\n0 1 2\n\n1 3 4\nx\n",
        ] {
            let usage = usage_all(text).expect("it is one");
            assert_eq!(usage, (vec![1, 3], vec![2, 4]), "{text:?}");
        }
        assert_eq!(usage_all("").expect("it is empty"), Default::default());
        for broken in ["0 1 2\n", "cpu user system\n0 x 1\n"] {
            assert!(usage_all(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn any_text_is_cpu_time_or_an_error() {
        let samples = [
            "usage_usec 4806821\nuser_usec 1224751\nnr_periods 66\nthrottled_time 5\n",
            "user 122\nsystem 358\n",
            "cpu user system\n0 263942344 4000000\n1 256000000 40000000\n",
        ];
        crate::fuzz::survives_anything(&samples, |text| {
            let _ = (cpuacct_stat(text), usage_all(text), cpu_stat(text));
        });
    }
}
