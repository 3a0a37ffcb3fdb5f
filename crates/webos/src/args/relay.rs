//! Which relays a node asks instead of a volume's home, as it is written: `VOLUME.REALM=NODE@HOST:PORT`, more than one
//! with commas between them.

use super::values::NodeName;
use node::ViaNode;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use terms::VolumeName;

/// For each volume the relay that is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RelayVia(pub BTreeMap<VolumeName, ViaNode>);

impl FromStr for RelayVia {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut relays = BTreeMap::new();
        for one in text.split(',').map(str::trim).filter(|one| !one.is_empty()) {
            let shown = one.escape_default();
            let wrong = || format!("'{shown}' is no relay: write VOLUME.REALM=NODE@HOST:PORT");
            let (volume, node) = one.split_once('=').ok_or_else(wrong)?;
            let volume: VolumeName = volume.parse().map_err(|error: terms::NameError| error.to_string())?;
            let node: NodeName = node.parse().map_err(|_| wrong())?;
            let principal = node.within(&volume.realm);
            let via = ViaNode { principal, address: node.address.ok_or_else(wrong)? };
            if relays.insert(volume.clone(), via).is_some() {
                return Err(format!("{volume} is named twice: it is relayed via one node"));
            }
        }
        Ok(Self(relays))
    }
}

impl Display for RelayVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (volume, via)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{volume}={}@{}", via.principal, via.address)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_as_they_are_written() {
        let n1 = "data.lab.example=spiffe://lab.example/server/n1@10.0.0.1:443";
        for (text, shown) in [
            ("", ""),
            ("data.lab.example=n1@10.0.0.1:443", n1),
            (" data.lab.example=spiffe://lab.example/server/n1@10.0.0.1:443 , ", n1),
            (
                "b.lab.example=n2@h:1,a.lab.example=n1@h:1",
                "a.lab.example=spiffe://lab.example/server/n1@h:1,b.lab.example=spiffe://lab.example/server/n2@h:1",
            ),
        ] {
            let found: RelayVia = text.parse().expect(text);
            assert_eq!(found.to_string(), shown, "{text}");
            assert_eq!(shown.parse(), Ok(found), "what is shown can be written");
        }
        for (text, expected) in [
            ("data.lab.example", "is no relay: write VOLUME.REALM=NODE@HOST:PORT"),
            ("data.lab.example=n1", "is no relay: write VOLUME.REALM=NODE@HOST:PORT"),
            ("data.lab.example=spiffe://lab.example/user/u@h:1", "is no relay"),
            ("data=n1@h:1", "data"),
            ("a.lab.example=n1@h:1,a.lab.example=n2@h:1", "named twice"),
        ] {
            let refused = text.parse::<RelayVia>().expect_err(text);
            assert!(refused.contains(expected), "{text}: {refused}");
        }
    }
}
