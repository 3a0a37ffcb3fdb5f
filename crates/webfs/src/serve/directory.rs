//! GET and HEAD of a directory: its listing as CBOR for programs of ours, as JSON, or as a plain page.
//! Names are foreign text: they are escaped for where they stand.

use super::file::{bodyless, described, method_not_allowed};
use super::{Face, accepts, check_right};
use crate::model::{DirEntry, Entry, FileKind, Listing};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt::Write;
use terms::{ChangeNumber, Code, Problem, Right, UnixMs, VolumeName, VolumePath};
use trust::Authorised;
use wire::Body;

/// A directory, and a page of its entries.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    /// The volume.
    pub volume: &'a VolumeName,
    /// The directory's path in it.
    pub path: &'a VolumePath,
    /// Its attributes.
    pub entry: &'a Entry,
    /// The change number that the listing takes in.
    pub change: ChangeNumber,
    /// The entries after [`after`].
    pub listing: &'a Listing,
}

/// The name after which a listing is asked for: `?after=NAME`, percent-encoded. Empty: from the first.
pub fn after(request: &Parts) -> Result<String, Problem> {
    let query = request.uri.query().unwrap_or_default();
    let Some(name) = query.split('&').find_map(|pair| pair.strip_prefix("after=")) else {
        return Ok(String::new());
    };
    let decoded = percent_decode_str(name).decode_utf8();
    decoded.map(Into::into).map_err(|_| Problem::new(Code::Invalid, "'after' is not UTF-8 after percent-decoding"))
}

/// Answers a GET or HEAD of a directory.
pub fn directory(
    authorised: &Authorised,
    directory: Directory<'_>,
    request: &Parts,
    face: Face,
    now: UnixMs,
) -> Response<Body> {
    if let Err(problem) = check_right(authorised, directory.volume, directory.path, Right::Read, now) {
        return wire::problem_response(&problem);
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        return method_not_allowed("GET, HEAD, DELETE");
    }
    let mut headers = HeaderMap::with_capacity(12);
    described(&mut headers, directory.entry, directory.change, face);
    let (media_type, text) = if accepts(&request.headers, "application/cbor") {
        ("application/cbor", wire::cbor::to_vec(directory.listing))
    } else if accepts(&request.headers, "text/html") {
        ("text/html; charset=utf-8", page(&directory).into_bytes())
    } else {
        ("application/json", serde_json::to_vec(directory.listing).unwrap_or_default())
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(text.len() as u64));
    let mut response = bodyless(StatusCode::OK, headers);
    if request.method == Method::GET {
        *response.body_mut() = wire::body::full(text);
    }
    response
}

fn page(directory: &Directory<'_>) -> String {
    let here = format!("/{}/{}", directory.volume, directory.path.to_url());
    let here = here.trim_end_matches('/');
    let title = escaped(&format!("{}/{}", directory.volume, directory.path));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\n<h1>{title}</h1>\n<ul>\n"
    );
    if let Some(parent) = directory.path.parent() {
        let above = escaped(&format!("/{}/{}", directory.volume, parent.to_url()));
        let _ = writeln!(page, "<li><a href=\"{above}\">..</a>");
    }
    for entry in &directory.listing.entries {
        line(&mut page, here, entry);
    }
    page.push_str("</ul>\n");
    if directory.listing.more
        && let Some(last) = directory.listing.entries.last()
    {
        let after = utf8_percent_encode(&last.name, NON_ALPHANUMERIC);
        let _ = writeln!(page, "<p><a href=\"{}?after={after}\">more</a>", escaped(here));
    }
    page.push_str("</html>\n");
    page
}

fn line(page: &mut String, here: &str, entry: &DirEntry) {
    let name = escaped(&entry.name);
    let target = utf8_percent_encode(&entry.name, NON_ALPHANUMERIC);
    let here = escaped(here);
    let _ = match entry.kind {
        FileKind::Directory => writeln!(page, "<li><a href=\"{here}/{target}\">{name}/</a>"),
        FileKind::File => writeln!(page, "<li><a href=\"{here}/{target}\">{name}</a> {} bytes", entry.size),
        FileKind::Link => {
            let leads = escaped(entry.target.as_deref().unwrap_or_default());
            writeln!(page, "<li><a href=\"{here}/{target}\">{name}</a> leads to {leads}")
        }
    };
}

/// For text and for attributes in double quotes. Control characters, which may steer a terminal, become visible.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            control if control.is_control() => safe.extend(control.escape_default()),
            other => safe.push(other),
        }
    }
    safe
}
