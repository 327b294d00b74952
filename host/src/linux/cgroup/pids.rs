//! Tasks and their limit.

use std::io;
use std::path::Path;

use crate::error::{Context as _, Result};
use crate::linux::file::{folders, read_text};

/// The number of tasks in a group and the groups in it. `None` where the group has no such list.
pub(super) fn tasks(folder: &Path, list: &str) -> Result<Option<u64>> {
    let path = folder.join(list);
    let text = match read_text(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| path.display().to_string()),
    };
    let mut count = text.lines().count() as u64;
    for name in folders(folder).with_context(|| folder.display().to_string())? {
        // A group that has gone since has no tasks.
        count += tasks(&folder.join(name), list)?.unwrap_or(0);
    }
    Ok(Some(count))
}
