//! `webos settings`: each outcome with its origin.

use super::Setup;
use crate::output::{Out, Outcome};
use serde::Serialize;

#[derive(Serialize)]
struct Shown {
    file: String,
    settings: Vec<crate::settings::Line>,
}

/// Prints all settings.
pub fn show(setup: &Setup, out: &mut Out) -> Outcome {
    let file = setup.folder.settings().display().to_string();
    out.result(&Shown { file, settings: setup.settings.lines() }, |out, shown| {
        for line in &shown.settings {
            out.line(&format!("{:<14}{:<28}  {:<32}  {}", line.name, line.value, line.origin, line.about))?;
        }
        out.line(&format!("\nThe file is {}; then come WEBOS_* variables, then flags.", shown.file))
    })
}
