//! Licence expressions as crates state them: `MIT OR Apache-2.0`, `(A AND B) OR C WITH exception`, and the old
//! `A/B`. Decides only whether an allow-list permits one; knows nothing of crates.

use anyhow::{Result, bail};

/// Whether somebody who accepts exactly the licences in `allowed` may use what is under `expression`. A licence
/// with an exception is asked for as one name: `Apache-2.0 WITH LLVM-exception`.
pub fn permits(expression: &str, allowed: &[&str]) -> Result<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, at: 0, allowed };
    let answer = reader.either()?;
    if let Some(rest) = reader.peek() {
        bail!("licence expression '{expression}': unexpected '{rest}'");
    }
    Ok(answer)
}

struct Reader<'a> {
    words: &'a [&'a str],
    at: usize,
    allowed: &'a [&'a str],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn either(&mut self) -> Result<bool> {
        let mut answer = self.both()?;
        while self.take("OR") {
            answer |= self.both()?;
        }
        Ok(answer)
    }

    fn both(&mut self) -> Result<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Ok(answer)
    }

    fn one(&mut self) -> Result<bool> {
        if self.take("(") {
            let answer = self.either()?;
            if !self.take(")") {
                bail!("licence expression: ')' is missing");
            }
            return Ok(answer);
        }
        let Some(id) = self.peek().filter(|word| !matches!(*word, ")" | "AND" | "OR" | "WITH")) else {
            bail!("licence expression: a licence is missing");
        };
        self.at += 1;
        if !self.take("WITH") {
            return Ok(self.allowed.contains(&id));
        }
        let Some(exception) = self.peek() else { bail!("licence expression: WITH what?") };
        self.at += 1;
        Ok(self.allowed.contains(&format!("{id} WITH {exception}").as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_with_their_precedence() {
        let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"];
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("Apache-2.0/MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT AND ISC", true),
            ("GPL-3.0-only AND MIT OR ISC", true),
            ("GPL-3.0-only AND (MIT OR ISC)", false),
            ("(MIT OR Apache-2.0) AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
        ] {
            assert_eq!(permits(expression, &allowed).unwrap(), expected, "{expression}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for text in ["", "(MIT", "MIT OR", "MIT ISC", "MIT WITH", ") MIT"] {
            assert!(permits(text, &["MIT"]).is_err(), "{text}");
        }
    }
}
