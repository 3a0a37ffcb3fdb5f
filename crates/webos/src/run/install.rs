//! stub
use super::Setup;
use crate::args::{NodeInstall, NodeUninstall};
use crate::output::{Out, Outcome};
pub fn install(_setup: &Setup, _out: &mut Out, _a: &NodeInstall) -> Outcome {
    Ok(())
}
pub fn uninstall(_out: &mut Out, _a: &NodeUninstall) -> Outcome {
    Ok(())
}
