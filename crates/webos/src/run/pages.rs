//! Pages made from the definitions: the newcomer's, shell completions, manual pages.

use crate::args::{Man, NEWCOMER, definitions};
use crate::home::cannot;
use crate::output::{Out, Outcome};
use serde::Serialize;
use std::path::Path;
use terms::{Code, Problem};

#[derive(Serialize)]
struct Page {
    page: String,
}

/// `webos` alone.
pub fn newcomer(out: &mut Out) -> Outcome {
    let page =
        format!("WebOS: files, services and machines across organisations, with rights that end.\n\n{NEWCOMER}");
    out.result(&Page { page }, |out, shown| {
        out.line(&shown.page)?;
        out.line("All commands: webos --help")
    })
}

/// `webos completions SHELL`.
pub fn completions(out: &mut Out, shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut definitions(), "webos", &mut script);
    show(out, script)
}

/// `webos man`: all commands on one page, or one page a command into a folder.
pub fn man(out: &mut Out, arguments: &Man) -> Outcome {
    let mut root = definitions();
    root.build();
    match &arguments.into {
        None => {
            let mut pages = Vec::new();
            write_pages(&root, "webos", &mut |_, page| {
                pages.extend_from_slice(page);
                Ok(())
            })?;
            show(out, pages)
        }
        Some(folder) => {
            let mut count = 0;
            write_pages(&root, "webos", &mut |name, page| {
                count += 1;
                write(folder, name, page)
            })?;
            out.result(&count, |out, count| out.line(&format!("{count} pages in {}", folder.display())))
        }
    }
}

fn write(folder: &Path, name: &str, page: &[u8]) -> Result<(), Problem> {
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page).map_err(|error| cannot("write", &path, &error))
}

type Keep<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Result<(), Problem>;

fn write_pages(command: &clap::Command, name: &str, keep: Keep<'_>) -> Result<(), Problem> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Problem::new(Code::Internal, format!("cannot make the page of {name}: {error}")))?;
    keep(name, &page)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        write_pages(sub, &format!("{name}-{}", sub.get_name()), keep)?;
    }
    Ok(())
}

fn show(out: &mut Out, page: Vec<u8>) -> Outcome {
    let page = Page { page: String::from_utf8_lossy(&page).into_owned() };
    out.result(&page, |out, shown| out.bytes(shown.page.as_bytes()))
}
