//! The smallest HTTP/1.1 client that keeps a connection: a request written once, its answer read and counted.
//! Both sides of a comparison are asked through it. Only answers with a Content-Length are understood.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest header of an answer: bytes.
const MAX_HEADER: usize = 64 * 1024;
/// Read buffer: bytes.
const BUFFER: usize = 256 * 1024;

/// One kept connection.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// The head of an answer; its body has been read.
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Bytes of the body.
    pub bytes: u64,
    /// The body, if it was wanted.
    pub body: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Over a stream that is connected.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; BUFFER] }
    }

    /// Sends the request and reads the whole answer; the body is kept only if `keep`.
    pub async fn ask(&mut self, request: &[u8], keep: bool) -> Result<Answer> {
        self.stream.write_all(request).await.context("send a request")?;
        self.stream.flush().await.context("send a request")?;
        let mut filled = 0;
        let end = loop {
            let count = self.stream.read(&mut self.buffer[filled..]).await.context("read an answer")?;
            if count == 0 {
                bail!("the server closed the connection");
            }
            filled += count;
            if let Some(end) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if filled >= MAX_HEADER {
                bail!("the answer's header is longer than {MAX_HEADER} bytes");
            }
        };
        let (status, length) = head(&self.buffer[..end])?;
        let mut body = Vec::new();
        let mut have = (filled - end) as u64;
        if keep {
            body.extend_from_slice(&self.buffer[end..filled]);
        }
        while have < length {
            let count = self.stream.read(&mut self.buffer).await.context("read a body")?;
            if count == 0 {
                bail!("the server closed the connection in the middle of a body");
            }
            have += count as u64;
            if keep {
                body.extend_from_slice(&self.buffer[..count]);
            }
        }
        if have > length {
            bail!("the server sent more than it announced");
        }
        Ok(Answer { status, bytes: length, body })
    }
}

fn head(bytes: &[u8]) -> Result<(u16, u64)> {
    let text = std::str::from_utf8(bytes).context("the answer's header is no text")?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok()).context("the answer has no status")?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    Ok((status, length.context("the answer has no Content-Length")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n").unwrap(), (200, 12));
        assert!(head(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(head(b"\r\n\r\n").is_err());
    }
}
