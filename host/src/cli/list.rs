//! `eventout list`.

use std::io::{self, IsTerminal as _};

use eventout::{ContainerInfo, Result, Source};

use super::args::ListFormat;
use super::diagnostics::clean;
use super::output::Output;

/// Prints the containers of a source.
pub(crate) fn run(
    mut source: Box<dyn Source>,
    format: Option<ListFormat>,
    out: &mut Output,
) -> Result<()> {
    let containers = source.containers()?;
    for warning in source.warnings() {
        out.report(&warning);
    }
    let format = format.unwrap_or(match io::stdout().is_terminal() {
        true => ListFormat::Table,
        false => ListFormat::Json,
    });
    match format {
        ListFormat::Json => {
            for container in &containers {
                out.line(&serde_json::to_string(container).map_err(io::Error::from)?);
            }
        }
        ListFormat::Table => table(&containers).for_each(|row| out.line(&row)),
    }
    out.flush()
}

/// Returns the lines of a table.
fn table(containers: &[ContainerInfo]) -> impl Iterator<Item = String> {
    let heading = ["ID", "SANDBOX", "SOURCE"].map(String::from);
    let cells = |c: &ContainerInfo| [&c.id, &c.sandbox, &c.source].map(clean);
    let rows: Vec<_> = [heading]
        .into_iter()
        .chain(containers.iter().map(cells))
        .collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let (id, sandbox) = (width(0), width(1));
    rows.into_iter()
        .map(move |[a, b, c]| format!("{a:id$}  {b:sandbox$}  {c}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_clean() {
        let listed = |id: &str| ContainerInfo {
            id: id.to_owned(),
            sandbox: "pod".to_owned(),
            source: "demo".to_owned(),
        };
        let rows: Vec<_> = table(&[listed("web"), listed("\x1b[2J")]).collect();
        assert_eq!(
            rows,
            [
                "ID         SANDBOX  SOURCE",
                "web        pod      demo",
                "\\u{1b}[2J  pod      demo"
            ]
        );
    }
}
