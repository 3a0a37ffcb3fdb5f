//! The command line of WebOS. Stage one ([`args`]) turns words into a checked command from the text alone; stage
//! two ([`run`]) reads settings and touches the machine.

mod args;
mod console;
mod home;
mod output;
mod run;
mod settings;
mod up;

fn main() -> std::process::ExitCode {
    run::main(std::env::args_os().collect())
}
