//! Finds functions and their lengths in Rust and JavaScript by a small lexer: strings, characters and comments
//! are blanked out, then braces are counted. It need not understand the languages, only never be led astray by
//! a brace in a string; what it takes for a function is a table in the tests.

/// A function with its lines, from the one that names it to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub lines: usize,
}

/// Which language's rules hold for strings and for what is a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Rust,
    JavaScript,
}

/// All functions in the order of their beginnings; those inside others are listed too.
pub fn functions(source: &str, language: Language) -> Vec<Function> {
    let code = blank(source, language);
    let mut found = Vec::new();
    for (at, name) in openings(&code, language) {
        let Some(open) = body(&code, at) else { continue };
        let end = close(&code, open);
        let lines = code[at..end].iter().filter(|b| **b == b'\n').count() + 1;
        found.push(Function { name, lines });
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

/// The source with everything but code as spaces, newlines kept.
fn blank(source: &str, language: Language) -> Vec<u8> {
    let bytes = source.as_bytes();
    let mut code = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(bytes, at, &code, language);
        if end == at {
            code.push(bytes[at]);
            at += 1;
        } else {
            let end = end.min(bytes.len());
            code.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
            at = end;
        }
    }
    code
}

/// The end of the comment, string, character or regular expression that starts at `at`; `at` if none does.
fn skip(bytes: &[u8], at: usize, code: &[u8], language: Language) -> usize {
    let rest = &bytes[at..];
    let after_word = code.last().is_some_and(|b| is_word(*b));
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + comment(rest, language == Language::Rust),
        [b'"', ..] => at + quoted(rest, b'"'),
        [b'\'', ..] if language == Language::JavaScript => at + quoted(rest, b'\''),
        [b'`', ..] if language == Language::JavaScript => at + quoted(rest, b'`'),
        [b'/', ..] if language == Language::JavaScript && expects_value(code) => at + regex(rest),
        [b'\'', ..] => at + character(rest),
        [b'r', b'"' | b'#', ..] if language == Language::Rust && !after_word => at + raw(rest),
        [b'b', b'r', b'"' | b'#', ..] if language == Language::Rust && !after_word => at + 1 + raw(&rest[1..]),
        _ => at,
    }
}

/// Length of a block comment; in Rust they nest.
fn comment(rest: &[u8], nests: bool) -> usize {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < rest.len() {
        match &rest[at..] {
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            [b'/', b'*', ..] if nests => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// Length of a text between two `quote`s with backslash escapes.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Length of a character; a lifetime has none.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', ..] => 2 + quoted(&rest[2..], b'\''),
        _ => {
            let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]).into_owned();
            let first = text.chars().next().map_or(0, char::len_utf8);
            if rest.get(1 + first) == Some(&b'\'') { 2 + first } else { 0 }
        }
    }
}

/// Length of `r"…"` or `r#"…"#`; 0 for a raw name such as `r#type`.
fn raw(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let end: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|w| w == end).unwrap_or(body.len());
    2 + hashes + length + end.len()
}

/// In JavaScript a slash starts a regular expression where a value may stand.
fn expects_value(code: &[u8]) -> bool {
    let before = code.trim_ascii_end();
    before.ends_with(b"return") || before.last().is_none_or(|b| b"(,=:[!&|?{};+-*%<>~^".contains(b))
}

fn regex(rest: &[u8]) -> usize {
    let (mut at, mut in_class) = (1, false);
    while at < rest.len() && rest[at] != b'\n' && (in_class || rest[at] != b'/') {
        match rest[at] {
            b'\\' => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            _ => {}
        }
        at += 1;
    }
    at + 1
}

/// Where functions start, with their names.
fn openings(code: &[u8], language: Language) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let length = code[at..].iter().take_while(|b| is_word(**b)).count();
        let word = &code[at..at + length];
        if length == 0 {
            if language == Language::JavaScript && code[at..].starts_with(b"=>") {
                found.extend(arrow(code, at));
            }
            at += 1;
            continue;
        }
        match language {
            Language::Rust if word == b"fn" => found.extend(named(code, at, at + length)),
            Language::JavaScript if word == b"function" => found.extend(named(code, at, at + length)),
            Language::JavaScript if method(code, at, length) => {
                found.push((at, String::from_utf8_lossy(word).into_owned()));
            }
            _ => {}
        }
        at += length;
    }
    found.sort();
    found
}

/// `fn NAME`, `function NAME`, `function* NAME`; a type such as `fn(u8)` has no name, JavaScript's may lack one.
fn named(code: &[u8], at: usize, after: usize) -> Option<(usize, String)> {
    let start = after + code[after..].iter().take_while(|b| b.is_ascii_whitespace() || **b == b'*').count();
    let name: Vec<u8> = code[start..].iter().copied().take_while(|b| is_word(*b) || *b == b'#').collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    if name.is_empty() {
        return (&code[at..after] == b"function").then(|| (at, "(anonymous)".to_owned()));
    }
    Some((at, name))
}

/// `(…) => {`: an arrow with a body in braces.
fn arrow(code: &[u8], at: usize) -> Option<(usize, String)> {
    let gap = code[at + 2..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    (code.get(at + 2 + gap) == Some(&b'{')).then(|| (at, "(arrow)".to_owned()))
}

/// `NAME(…) {` where NAME is no keyword: a method.
fn method(code: &[u8], at: usize, length: usize) -> bool {
    let word = &code[at..at + length];
    let keyword = [&b"if"[..], b"for", b"while", b"switch", b"catch", b"function", b"return", b"with"];
    let before = code[..at].trim_ascii_end();
    let after_function = before.strip_suffix(b"*").unwrap_or(before).trim_ascii_end().ends_with(b"function");
    if code.get(at + length) != Some(&b'(') || keyword.contains(&word) || after_function {
        return false;
    }
    let end = close(code, at + length);
    let gap = code[end.min(code.len())..].iter().take_while(|b| b.is_ascii_whitespace()).count();
    code.get(end + gap) == Some(&b'{')
}

/// The brace that opens the body of the function at `at`; none if it is only declared.
fn body(code: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' if depth == 0 => return Some(at + offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The place after the bracket that closes the one at `open`.
fn close(code: &[u8], open: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[open..].iter().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        if depth == 0 {
            return open + offset + 1;
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(language: Language, source: &str, expected: &[(&str, usize)]) {
        let found = functions(source, language);
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.lines)).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn rust_functions() {
        let rust = |source, expected: &[(&str, usize)]| check(Language::Rust, source, expected);
        rust("fn a() {}\nfn b() {\n}\n", &[("a", 1), ("b", 2)]);
        rust("trait T {\n fn a();\n fn b() {\n }\n}", &[("b", 2)]);
        rust("fn a(f: fn(u8) -> u8, x: [u8; 3]) {\n let c = '{';\n}", &[("a", 3)]);
        rust("fn a<'a>(x: &'a str) {\n \"}\\\"\";\n // }\n /* /* } */ } */\n}", &[("a", 5)]);
        rust("fn a() {\n r#\"}\"#; br\"}\"; b'}'; '\\''; 'é';\n fn b() {}\n}", &[("a", 4), ("b", 1)]);
        rust("fn r#type() {\n}", &[("r#type", 2)]);
        rust("let fnord = 1;", &[]);
    }

    #[test]
    fn javascript_functions() {
        let js = |source, expected: &[(&str, usize)]| check(Language::JavaScript, source, expected);
        js("function a() {\n}", &[("a", 2)]);
        js("export async function* b(x = {}) {\n '}';\n}", &[("b", 3)]);
        js("const c = (x) => {\n `}${x}`;\n};", &[("(arrow)", 3)]);
        js("class D {\n m(x) {\n  if (x) {\n  }\n }\n}", &[("m", 4)]);
        js("const r = /[/}]{/.test(a / b);\nfunction e() { return /}/; }", &[("e", 1)]);
        js("on('x', function () {\n});", &[("(anonymous)", 2)]);
        js("const f = x => x + 1;", &[]);
    }
}
