//! `eventout top`, in a real terminal (tmux) and as text.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tests::{Eventout, can_run, run, wait_until};

/// A terminal of a tmux server of its own, which goes when this does.
struct Terminal {
    directory: TempDir,
}

impl Terminal {
    /// Starts a shell in a terminal of 80×24, with the program as `$P`. `None` where there is no tmux.
    fn start() -> Option<Self> {
        let is_there = Command::new("tmux").arg("-V").output().is_ok();
        if !can_run(if is_there { "" } else { "there is no tmux" }) {
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let terminal = Self { directory };
        let mut command = terminal.tmux();
        command
            .args([
                "-u",
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                "-x",
                "80",
                "-y",
                "24",
            ])
            .arg("exec bash --norc --noprofile -i")
            .env("P", Eventout::new().into_command().get_program())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("NO_COLOR")
            .env_remove("TMUX");
        run(&mut command);
        terminal.wait_for("bash-");
        Some(terminal)
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.file("socket"));
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Presses keys, as tmux names them.
    fn press(&self, keys: &[&str]) {
        run(self.tmux().arg("send-keys").args(keys));
    }

    /// Types a command of the shell.
    fn enter(&self, command: &str) {
        run(self.tmux().args(["send-keys", "-l", command]));
        self.press(&["Enter"]);
    }

    /// What is on the screen.
    fn screen(&self) -> String {
        run(self.tmux().args(["capture-pane", "-p"]))
    }

    /// Waits until the screen has that text, and returns it.
    #[track_caller]
    fn wait_for(&self, text: &str) -> String {
        let mut screen = String::new();
        let end = Instant::now() + Duration::from_secs(60);
        while !screen.contains(text) {
            assert!(Instant::now() < end, "no {text:?} in\n{screen}");
            screen = self.screen();
        }
        screen
    }

    /// Whether the alternate screen is on, and whether the cursor is to be seen.
    fn modes(&self) -> (bool, bool) {
        let format = "#{alternate_on}#{cursor_flag}";
        let modes = run(self.tmux().args(["display-message", "-p", format]));
        (modes.starts_with('1'), modes.trim_end().ends_with('1'))
    }

    /// Starts `top` of the demo between two readings of the terminal's settings, and waits until it is to be seen.
    fn top(&self, args: &str) {
        let [before, after, code, pid] = ["before", "after", "code", "pid"].map(|n| self.file(n));
        let [before, after, code, pid] = [&before, &after, &code, &pid].map(|f| f.display());
        self.enter(&format!(
            "clear; stty -g >{before}; sh -c 'echo $$ >{pid}; exec \"$P\" {args}'; echo $? >{code}; stty -g >{after}; echo do''ne"
        ));
        self.wait_for("NAME");
        assert_eq!(self.modes(), (true, false));
    }

    fn pid(&self) -> String {
        fs::read_to_string(self.file("pid"))
            .expect("it runs")
            .trim()
            .to_owned()
    }

    fn kill(&self, signal: &str) {
        run(Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.pid())]));
    }

    /// Waits until `top` has ended with that code. The terminal must be as it was.
    #[track_caller]
    fn ends(&self, code: i32) {
        let screen = self.wait_for("done");
        let read = |name: &str| fs::read_to_string(self.file(name)).expect("it is written");
        assert_eq!(read("code").trim(), code.to_string(), "{screen}");
        assert_eq!(read("before"), read("after"));
        assert_eq!(self.modes(), (false, true), "{screen}");
        assert!(!screen.contains("NAME"), "{screen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}

/// Whether there is such a process, other than as a zombie.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let (_, state) = stat.rsplit_once(')').unwrap_or_default();
    !state.is_empty() && !state.trim_start().starts_with(['Z', 'X'])
}

const DEMO: &str = "--source demo top --interval 100ms";

#[test]
fn the_screen_shows_containers_and_follows_keys() {
    let Some(terminal) = Terminal::start() else {
        return;
    };
    terminal.top(DEMO);
    let screen = terminal.wait_for("3 containers of demo");
    let lines: Vec<_> = screen.lines().collect();
    assert!(lines[1].starts_with("NAME"), "{screen}");
    assert!(
        lines[1].contains("CPU%▼") && lines[1].contains("PIDS/LIMIT"),
        "{screen}"
    );
    // Sorted by name, and the other way.
    terminal.press(&["a"]);
    let screen = terminal.wait_for("NAME▲");
    let names = |screen: &str| -> Vec<String> {
        let rows = screen.lines().skip(2).take(3);
        rows.filter_map(|row| Some(row.split_whitespace().next()?.to_owned()))
            .collect()
    };
    assert_eq!(names(&screen), ["db", "pause", "web"]);
    terminal.press(&["r"]);
    assert_eq!(names(&terminal.wait_for("NAME▼")), ["web", "pause", "db"]);
    // One of them.
    terminal.press(&["/"]);
    terminal.press(&["E", "B"]);
    terminal.wait_for("filter: EB");
    let screen = terminal.wait_for("1 with \"EB\"");
    assert_eq!(names(&screen)[0], "web");
    terminal.press(&["Enter", "Enter"]);
    let screen = terminal.wait_for("sandbox        pause");
    assert!(
        screen.contains("pids           ") && screen.contains("MEM "),
        "{screen}"
    );
    terminal.press(&["Escape"]);
    terminal.wait_for("NAME▼");
    terminal.press(&["?"]);
    terminal.wait_for("working set: usage without inactive page cache");
    // There is more room for columns.
    terminal.press(&["Escape"]);
    terminal.wait_for("NAME▼");
    assert!(!terminal.screen().contains("NET RX/TX"));
    run(terminal
        .tmux()
        .args(["resize-window", "-x", "200", "-y", "60"]));
    terminal.wait_for("NET RX/TX");
    terminal.wait_for("PSI CPU/MEM/IO");
    run(terminal
        .tmux()
        .args(["resize-window", "-x", "30", "-y", "5"]));
    wait_until("columns are left out", 60, || {
        !terminal.screen().contains("PIDS")
    });
    terminal.press(&["q"]);
    terminal.ends(0);
}

#[test]
fn the_terminal_is_left_as_it_was_whatever_ends_the_program() {
    let Some(terminal) = Terminal::start() else {
        return;
    };
    for (signal, code) in [("TERM", 143), ("HUP", 129), ("INT", 130)] {
        terminal.top(DEMO);
        terminal.kill(signal);
        terminal.ends(code);
    }
    terminal.top(DEMO);
    terminal.press(&["C-c"]);
    terminal.ends(130);
    // While a page or a filter is open, too.
    terminal.top(DEMO);
    terminal.press(&["f", "q", "C-c"]);
    terminal.ends(130);
}

#[test]
fn a_program_without_its_terminal_ends() {
    for ignored in ["", "trap \"\" HUP; "] {
        let Some(terminal) = Terminal::start() else {
            return;
        };
        let pid = terminal.file("pid");
        terminal.enter(&format!(
            "clear; sh -c '{ignored}echo $$ >{}; exec \"$P\" {DEMO}'",
            pid.display()
        ));
        terminal.wait_for("NAME");
        let pid = terminal.pid();
        assert!(is_running(&pid));
        run(terminal.tmux().arg("kill-server"));
        wait_until("it has ended", 20, || !is_running(&pid));
    }
}

#[test]
fn it_stops_and_goes_on_like_other_programs() {
    let Some(terminal) = Terminal::start() else {
        return;
    };
    terminal.top(DEMO);
    terminal.press(&["C-z"]);
    terminal.wait_for("Stopped");
    assert_eq!(terminal.modes(), (false, true));
    terminal.enter("fg");
    terminal.wait_for("NAME");
    assert_eq!(terminal.modes(), (true, false));
    terminal.press(&["?"]);
    terminal.wait_for("Columns");
    // Stopped by another process.
    terminal.kill("TSTP");
    wait_until("it is stopped", 60, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", terminal.pid()));
        stat.is_ok_and(|stat| stat.contains(") T "))
    });
    terminal.enter("fg");
    terminal.press(&["Escape"]);
    terminal.wait_for("NAME");
    terminal.press(&["q"]);
    wait_until("it has ended", 60, || !is_running(&terminal.pid()));
    wait_until("the terminal is as it was", 60, || {
        terminal.modes() == (false, true)
    });
    terminal.enter("clear; stty -a");
    let settings = terminal.wait_for("iexten");
    assert!(
        !settings.contains("-icanon") && !settings.contains("-isig"),
        "{settings}"
    );
}

#[test]
fn a_terminal_without_unicode_or_colours_gets_none() {
    let Some(terminal) = Terminal::start() else {
        return;
    };
    let full = r#"{"root_container":"a","memory_usage":99,"containers":[{"id":"größe","pids_count":1},{"id":"a","pids_count":1,"stats":{"memory":{"usage":{"limit":100,"usage":99}}}}]}"#;
    let file = terminal.file("full.jsonl");
    fs::write(&file, full).expect("a file");
    let args = format!("--source scenario:{} top", file.display());
    let coloured = || {
        let screen = run(terminal.tmux().args(["capture-pane", "-p", "-e"]));
        // Red, of 8 or of 256 colours.
        screen.contains("\x1b[31m") || screen.contains("\x1b[38;5;1m")
    };
    terminal.top(&args);
    terminal.wait_for("größe");
    wait_until("it is red", 60, coloured);
    terminal.press(&["q"]);
    terminal.ends(0);
    terminal.enter("export NO_COLOR=1 LC_ALL=C");
    terminal.top(&args);
    let screen = terminal.wait_for("gr??e");
    assert!(screen.is_ascii() && screen.contains("99.0"), "{screen}");
    assert!(!coloured());
    terminal.press(&["q"]);
    terminal.ends(0);
}

#[test]
fn a_source_that_fails_is_reported_and_read_again() {
    let Some(terminal) = Terminal::start() else {
        return;
    };
    let root = terminal.file("cgroup");
    let group = root.join("web");
    fs::create_dir_all(&group).expect("a directory");
    fs::write(root.join("cgroup.controllers"), "cpu memory pids\n").expect("a file");
    fs::write(group.join("pids.current"), "2\n").expect("a file");
    fs::write(group.join("cpu.stat"), "usage_usec 3000\n").expect("a file");
    terminal.top(&format!(
        "--source cgroup:{} top --interval 100ms",
        root.display()
    ));
    terminal.wait_for("1 container of cgroup");
    let away = terminal.file("away");
    fs::rename(&root, &away).expect("it can be moved");
    let screen = terminal.wait_for("STALE ");
    assert!(
        screen
            .lines()
            .nth(2)
            .is_some_and(|row| row.starts_with("web")),
        "{screen}"
    );
    fs::rename(&away, &root).expect("it can be moved");
    wait_until("it is read again", 60, || {
        !terminal.screen().contains("STALE ")
    });
    terminal.press(&["q"]);
    terminal.ends(0);
}

#[test]
fn without_a_terminal_that_can_be_drawn_on_it_says_what_to_do() {
    let call = || Eventout::new().source("demo").arg("top");
    call().fails(1).says("must be a terminal").says("--once");
    call().format("json").fails(2);
    let Some(terminal) = Terminal::start() else {
        return;
    };
    terminal.enter("TERM=dumb \"$P\" --source demo top; echo code $?");
    let screen = terminal.wait_for("code 1");
    assert!(screen.contains("\"dumb\" cannot be drawn on"), "{screen}");
    assert_eq!(terminal.modes(), (false, true));
}

/// Two samples of a container that is measured, one that only has tasks, and one whose CPU time falls.
const SAMPLES: [&str; 2] = [
    r#"[{"format":"runc","root_container":"web","containers":[{"id":"web","pids_count":7,"stats":{
"cpu":{"usage":{"total":1000000000},"throttling":{"periods":100,"throttled_periods":10,"throttled_time":5},
"psi":{"some":{"avg10":150,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},
"memory":{"usage":{"limit":1000000,"usage":700000},"raw":[["inactive_file",200000]]},
"pids":{"current":7,"limit":10},
"blkio":{"entries":[{"major":8,"minor":0,"op":"Read","io_service_bytes":1000},{"major":8,"minor":0,"op":"Write","io_service_bytes":500}]},
"network_interfaces":[{"name":"eth0","rx_bytes":100,"rx_packets":0,"rx_errors":0,"rx_dropped":0,"tx_bytes":900,"tx_packets":0,"tx_errors":0,"tx_dropped":0}]}}]},
{"format":"runc","root_container":"a, \"b\"","containers":[{"id":"a, \"b\"","pids_count":1}]},
{"format":"runc","root_container":"reset","containers":[{"id":"reset","pids_count":2,"stats":{"cpu":{"usage":{"total":50}}}}]}]"#,
    r#"[{"format":"runc","root_container":"web","containers":[{"id":"web","pids_count":7,"stats":{
"cpu":{"usage":{"total":1500000000},"throttling":{"periods":108,"throttled_periods":13,"throttled_time":5},
"psi":{"some":{"avg10":250,"avg60":0,"avg300":0,"total":0},"full":{"avg10":0,"avg60":0,"avg300":0,"total":0}}},
"memory":{"usage":{"limit":1000000,"usage":800000},"raw":[["inactive_file",200000]]},
"pids":{"current":8,"limit":10},
"blkio":{"entries":[{"major":8,"minor":0,"op":"Read","io_service_bytes":41000},{"major":8,"minor":0,"op":"Write","io_service_bytes":500}]},
"network_interfaces":[{"name":"eth0","rx_bytes":20100,"rx_packets":0,"rx_errors":0,"rx_dropped":0,"tx_bytes":900,"tx_packets":0,"tx_errors":0,"tx_dropped":0}]}}]},
{"format":"runc","root_container":"a, \"b\"","containers":[{"id":"a, \"b\"","pids_count":1}]},
{"format":"runc","root_container":"reset","containers":[{"id":"reset","pids_count":2,"stats":{"cpu":{"usage":{"total":49}}}}]}]"#,
];

/// Prints the samples once, 200 ms apart.
fn once(args: &[&str]) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    let text = SAMPLES.map(|sample| sample.replace('\n', "")).join("\n");
    fs::write(&file, text).expect("a file");
    let call = Eventout::new().scenario(&file).args(["top", "--once"]);
    call.interval("200ms").args(args).stdout()
}

#[test]
fn json_has_the_values_between_two_samples() {
    let text = once(&["--format", "json"]);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("it is JSON"))
        .collect();
    let ids: Vec<_> = lines.iter().map(|line| line["id"].as_str()).collect();
    // What has no rate comes last, by name.
    assert_eq!(ids, [Some("web"), Some("a, \"b\""), Some("reset")]);
    let web = &lines[0];
    let interval = web["interval_ns"].as_u64().expect("a number");
    assert!(interval >= 200_000_000, "{interval}");
    for (name, value) in [
        ("cpu_ns", 1_500_000_000),
        // 800,000 without 200,000 of inactive page cache.
        ("memory_bytes", 600_000),
        ("memory_limit_bytes", 1_000_000),
        ("pids", 8),
        ("pids_limit", 10),
        ("sent_bytes_per_second", 0),
        ("written_bytes_per_second", 0),
    ] {
        assert_eq!(web[name], value, "{name}");
    }
    // 3 of 8 periods.
    assert_eq!(web["throttled_percent"], 37.5);
    assert_eq!(web["memory_percent"], 60.0);
    assert_eq!(web["cpu_pressure_percent"], 2.5);
    assert_eq!(web["name"], "web");
    for (name, increase, scale) in [
        // 100 % is one core, and two digits are kept.
        ("cpu_percent", 500_000_000, 1e2),
        ("read_bytes_per_second", 40_000, 1e9),
        ("received_bytes_per_second", 20_000, 1e9),
    ] {
        let exact = f64::from(increase) / interval as f64 * scale;
        let value = web[name].as_f64().expect("a number");
        let error = if name == "cpu_percent" { 0.0051 } else { 0.51 };
        assert!((value - exact).abs() < error, "{name}: {value} {exact}");
    }
    for name in ["memory_pressure_percent", "io_pressure_percent", "pod"] {
        assert!(web.get(name).is_none(), "{name}");
    }
    let reset = &lines[2];
    assert_eq!((&reset["cpu_ns"], &reset["pids"]), (&49.into(), &2.into()));
    assert!(reset.get("cpu_percent").is_none(), "{reset}");
}

#[test]
fn csv_has_a_heading_and_empty_cells_for_what_is_not_known() {
    let text = once(&["--format", "csv", "--sort", "pids"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("id,name,pod,namespace,sandbox,source,interval_ns,cpu_percent,"));
    assert!(lines[1].starts_with("web,web,,,web,scenario:"), "{text}");
    assert!(
        lines[1].contains(",37.5,600000,1000000,60.0,8,10,"),
        "{text}"
    );
    assert!(lines[1].ends_with(",2.5,,"), "{text}");
    assert!(lines[2].starts_with("reset,reset,,,reset,"), "{text}");
    let quoted = r#""a, ""b""","a, ""b""",,,"a, ""b""","#;
    assert!(lines[3].starts_with(quoted), "{text}");
    assert_eq!(lines.len(), 4);
}

#[test]
fn a_table_is_for_people() {
    // The dash is one of the locale.
    let text = once(&["--sort", "memory"]).replace('–', "-");
    let cells: Vec<Vec<_>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let heading = [
        "NAME",
        "CPU%",
        "MEM",
        "LIMIT",
        "MEM%",
        "PIDS/LIMIT",
        "THR%",
        "PSI%",
        "NET",
        "RX/TX",
        "I/O",
        "R/W",
    ];
    assert_eq!(cells[0], heading);
    assert_eq!(cells[1][0], "web");
    assert_eq!(
        cells[1][2..8],
        ["586K", "977K", "60.0", "8/10", "37.5", "2.5"]
    );
    assert!(
        cells[1][8].ends_with("/0B") && cells[1][9].ends_with("/0B"),
        "{text}"
    );
    assert_eq!(
        cells[3],
        ["reset", "-", "-", "-", "-", "2/-", "-", "-", "-", "-"]
    );
}

#[test]
fn a_container_that_cannot_be_read_spoils_only_the_exit_code() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("scenario.jsonl");
    let sample = r#"{"root_container":"a","containers":[{"id":"a","pids_count":1},{"id":"b","pids_count":1,"error":"it is frozen"}]}"#;
    fs::write(&file, sample).expect("a file");
    let call = Eventout::new().scenario(&file).args(["top", "--once"]);
    let finished = call.interval("10ms").run();
    assert_eq!(finished.code(), Some(1), "{finished:?}");
    finished.says("it is frozen");
    assert_eq!(finished.stdout.lines().count(), 2);
}
