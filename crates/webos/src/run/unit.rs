//! The texts of the system service: a systemd unit that may do nothing but what a node does, and its user. Pure.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use terms::{Code, Problem};

/// The folder of the node that systemd runs.
pub const STATE: &str = "/var/lib/webos";

/// What the unit's text depends on.
pub struct Service<'a> {
    /// The program's file.
    pub program: &'a Path,
    /// Who it runs as.
    pub user: &'a str,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where others reach it, if not there.
    pub address: Option<&'a str>,
}

/// `sysusers.d`: the user, without password and shell.
pub fn users(user: &str) -> String {
    format!(
        "# The user that runs the WebOS node. See sysusers.d(5).\nu {user} - \"WebOS node\" {STATE} /usr/sbin/nologin\n"
    )
}

/// `tmpfiles.d`: the folder, in which the user joins a realm before there is anything to start.
pub fn state(user: &str) -> String {
    format!("# The folder of the WebOS node. See tmpfiles.d(5).\nd {STATE} 0700 {user} {user} -\n")
}

/// All that a node needs is its folder, the network and the clock. The rest is taken away, line by line.
const CAGE: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
";

/// The unit.
///
/// # Errors
/// A path of the program that a unit cannot name.
pub fn text(service: &Service<'_>) -> Result<String, Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let program = service.program.to_str().filter(|path| path.starts_with('/') && path.chars().all(plain));
    let program = program.ok_or_else(|| {
        Problem::new(Code::Invalid, format!("a unit cannot name {}", service.program.display()))
            .next("move the program to a path of letters, digits and / . _ - +")
    })?;
    let mut environment = format!("Environment=WEBOS_HOME={STATE} WEBOS_LISTEN={}", service.listen);
    if let Some(address) = service.address {
        // Writing to a string cannot fail.
        let _ = write!(environment, " WEBOS_ADDRESS={address}");
    }
    // Ports below 1024 need one capability, and a namespace of users would take it away again.
    let privilege = if (1..1024).contains(&service.listen.port()) {
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n"
    } else {
        "CapabilityBoundingSet=\nAmbientCapabilities=\nPrivateUsers=yes\n"
    };
    let user = service.user;
    Ok(format!(
        "\
# The WebOS node of {STATE}. Written by `webos node install`; changes belong into `systemctl edit webos-node`.
[Unit]
Description=WebOS node
Wants=network-online.target
After=network-online.target
# Before it has joined a realm there is nothing to run.
ConditionPathExists={STATE}/identity/{identity}

[Service]
Type=exec
User={user}
Group={user}
{environment}
ExecStart={program} node run --log info
Restart=on-failure
RestartSec=2s
TimeoutStopSec=30s
StateDirectory=webos
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
# A core would hold keys.
LimitCORE=0
{privilege}{CAGE}
[Install]
WantedBy=multi-user.target
",
        identity = trust::Identity::FILE,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(listen: &str, address: Option<&str>) -> String {
        let listen = listen.parse().expect("an address");
        text(&Service { program: Path::new("/usr/bin/webos"), user: "webos", listen, address }).expect("a unit")
    }

    #[test]
    fn the_unit_names_program_folder_and_address() {
        let unit = made("0.0.0.0:4433", Some("n2.lab.example:4433"));
        for line in [
            "ExecStart=/usr/bin/webos node run --log info",
            "User=webos",
            "StateDirectory=webos",
            "Environment=WEBOS_HOME=/var/lib/webos WEBOS_LISTEN=0.0.0.0:4433 WEBOS_ADDRESS=n2.lab.example:4433",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "CapabilityBoundingSet=",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
        }
        assert!(!made("0.0.0.0:4433", None).contains("WEBOS_ADDRESS"));
        assert!(made("0.0.0.0:443", None).contains("AmbientCapabilities=CAP_NET_BIND_SERVICE\n"));
    }

    #[test]
    fn a_strange_path_is_refused() {
        for bad in ["webos", "/opt/a b/webos", "/opt/%h/webos", "/opt/x\nUser=root"] {
            let listen = "0.0.0.0:4433".parse().expect("an address");
            let service = Service { program: Path::new(bad), user: "webos", listen, address: None };
            assert!(text(&service).is_err(), "{bad}");
        }
    }
}
