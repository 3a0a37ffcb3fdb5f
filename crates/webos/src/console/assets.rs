//! The page, embedded as built: `web/console/dist` is committed, so building this crate needs no node.

/// One embedded file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asset {
    pub(super) content_type: &'static str,
    pub(super) bytes: &'static [u8],
}

/// The file behind a path. Paths are compared as sent: nothing is decoded, so nothing can climb.
pub(super) fn find(path: &str) -> Option<Asset> {
    let (content_type, bytes): (_, &[u8]) = match path {
        "/" => ("text/html; charset=utf-8", include_bytes!("../../../../web/console/dist/index.html")),
        "/console.js" => {
            ("text/javascript; charset=utf-8", include_bytes!("../../../../web/console/dist/console.js"))
        }
        "/console.css" => ("text/css; charset=utf-8", include_bytes!("../../../../web/console/dist/console.css")),
        "/icon.svg" => ("image/svg+xml", include_bytes!("../../../../web/console/dist/icon.svg")),
        _ => return None,
    };
    Some(Asset { content_type, bytes })
}
