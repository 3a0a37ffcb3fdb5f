//! `webos bench`: hands over to `webos-bench`, which is built apart because it brings its peers with it.

use crate::args::Bench;
use crate::output::Outcome;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use terms::{Code, Problem};

const PROGRAM: &str = "webos-bench";

/// Becomes `webos-bench`; returns only if that is not possible.
pub fn start(arguments: &Bench, json: bool) -> Outcome {
    let beside = std::env::current_exe().ok().and_then(|me| me.parent().map(Path::to_path_buf));
    let Some(program) = find(beside, std::env::var_os("PATH").unwrap_or_default()) else {
        let problem = Problem::new(Code::Unsupported, format!("there is no {PROGRAM} beside webos or in PATH"));
        return Err(problem.next("build it with `make bench-setup`, which also installs the peers").into());
    };
    let mut command = Command::new(&program);
    command.arg(&arguments.name);
    command.args(arguments.short.then_some("--short")).args(json.then_some("--json")).args(&arguments.rest);
    let error = command.exec();
    Err(crate::home::cannot("start", &program, &error).into())
}

/// Beside the running program first, then in PATH.
fn find(beside: Option<PathBuf>, path: OsString) -> Option<PathBuf> {
    let folders = beside.into_iter().chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders.map(|folder| folder.join(PROGRAM)).find(|program| rustix::fs::access(program, EXECUTABLE).is_ok())
}

const EXECUTABLE: rustix::fs::Access = rustix::fs::Access::EXEC_OK;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_looked_for_beside_and_in_path() {
        let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let put = |folder: &Path, mode| {
            let program = folder.join(PROGRAM);
            std::fs::write(&program, "").expect("written");
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).expect("mine");
            program
        };
        let beside = Some(one.path().to_path_buf());
        let path = two.path().as_os_str().to_os_string();
        assert_eq!(find(beside.clone(), path.clone()), None);
        let in_path = put(two.path(), 0o755);
        assert_eq!(find(beside.clone(), path.clone()), Some(in_path));
        let near = put(one.path(), 0o755);
        assert_eq!(find(beside, path), Some(near));
        assert_eq!(find(None, OsString::from("relative:")), None);
    }
}
