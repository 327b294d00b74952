//! The page of `eventout serve`, in a browser.

use std::path::Path;
use std::process::Command;

use tests::{Eventout, can_run, root};

#[test]
fn people_see_in_the_page_what_containers_use() {
    let tools = root().join("target/examples/page");
    let missing = match () {
        () if !tools.join("node_modules").exists() => "target/examples/page is not there",
        () if !Path::new("/usr/bin/chromium").exists() => "there is no /usr/bin/chromium",
        () => "",
    };
    if !can_run(missing) {
        return;
    }
    let output = Command::new("node")
        .args(["--test", "tests/page/page.test.js"])
        .env("EVENTOUT", Eventout::new().into_command().get_program())
        .current_dir(root())
        .output()
        .expect("node runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("pass 13"), "{text}");
}
