//! What a list of a directory must be.

use super::*;

#[test]
fn a_list_only_goes_forward() {
    let entries = |names: &[&str]| -> Vec<DirEntry> {
        let entry = |name: &&str| DirEntry {
            name: name.to_string(),
            kind: FileKind::File,
            size: 0,
            etag: None,
            modified: UnixMs(0),
            target: None,
            policy: Policy::default(),
        };
        names.iter().map(entry).collect()
    };
    for (list, page, fine) in [
        (&[][..], &["a", "b"][..], true),
        (&["a"], &["b"], true),
        (&["a"], &[], true),
        (&["a"], &["a"], false),
        (&["b"], &["a"], false),
        (&[], &["b", "a"], false),
    ] {
        assert_eq!(goes_on(&entries(list), &entries(page)), fine, "{list:?} {page:?}");
    }
}
