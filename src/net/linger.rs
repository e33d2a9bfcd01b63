//! The end of a connection whose other side may still be sending.
//!
//! A close with bytes unread, and bytes that come after a close, are answered by a reset; and a reset throws away what was
//! written and is not yet received (RFC 9112 §9.6). So we say that no more comes, and read until the other side has heard it.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Most that is read of what nobody wants, in bytes.
const MOST: usize = 256 << 10;

/// Ends our side, then reads and forgets until the other side ends too, or has sent enough. The caller bounds the time.
pub async fn linger(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut bytes = vec![0; 16 << 10];
    let mut left = MOST;
    if stream.shutdown().await.is_err() {
        return;
    }
    while left > 0 {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(size) => left = left.saturating_sub(size),
        }
    }
}
