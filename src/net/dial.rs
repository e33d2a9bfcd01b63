//! Connects to one of a name's addresses, so that a dead one costs a moment and not all the time there is.
//!
//! The addresses are tried as RFC 8305 has it: the families in turn, the next one as soon as one fails or has said
//! nothing for a quarter second, and the first to be ready wins. What "ready" is, the caller says by what it gives:
//! TCP, and TLS where it speaks that, since an address may take connections and serve none. The losers are dropped,
//! so an attempt must send nothing that counts: no request, no update.
//!
//! Nothing is looked up here, and app servers have a way of their own, which takes their addresses in turn.

use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// For how long an address is waited for before the next one is tried as well (RFC 8305 §8 recommends it).
const HEAD_START: Duration = Duration::from_millis(250);

/// What became of each address.
#[derive(Debug)]
pub struct DialError(Vec<(SocketAddr, String)>);

impl Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("there is no address");
        }
        for (index, (address, reason)) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "; " };
            write!(f, "{gap}{address}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for DialError {}

/// What the first of `addresses` gives that succeeds within `limit`. Dropping the future drops all attempts.
///
/// # Errors
/// [`DialError`]; it names every address that was tried.
pub async fn first<T, E, F>(
    addresses: &[SocketAddr],
    limit: Duration,
    mut attempt: impl FnMut(SocketAddr) -> F,
) -> Result<T, DialError>
where
    E: Display,
    F: Future<Output = Result<T, E>>,
{
    // However many there are, the last one has its turn, too.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let head_start = HEAD_START.min(share);
    let mut race = Race {
        under_way: Vec::new(),
        failed: Vec::new(),
    };
    let run = async {
        for address in in_turn(addresses) {
            race.under_way.push(Attempt {
                address,
                began: Instant::now(),
                future: Box::pin(attempt(address)),
            });
            if let Ok(Some(made)) = timeout(head_start, race.ended()).await {
                return Some(made);
            }
        }
        while !race.under_way.is_empty() {
            if let Some(made) = race.ended().await {
                return Some(made);
            }
        }
        None
    };
    let made = timeout(limit, run).await.ok().flatten();
    made.ok_or_else(|| race.lost())
}

/// One of each family by turns (RFC 8305 §4), otherwise in the system's order: a family without a route costs one
/// head start, however many addresses it has.
fn in_turn(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let preferred = addresses.first().map(SocketAddr::is_ipv6);
    let (one, other): (Vec<SocketAddr>, Vec<SocketAddr>) = addresses
        .iter()
        .partition(|address| Some(address.is_ipv6()) == preferred);
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(addresses.len());
    while all.len() < addresses.len() {
        all.extend(one.next());
        all.extend(other.next());
    }
    all
}

struct Attempt<F> {
    address: SocketAddr,
    began: Instant,
    future: Pin<Box<F>>,
}

struct Race<F> {
    under_way: Vec<Attempt<F>>,
    failed: Vec<(SocketAddr, String)>,
}

impl<T, E: Display, F: Future<Output = Result<T, E>>> Race<F> {
    /// Waits for the next attempt to end: what it made, or nothing if it failed. Cancel-safe.
    async fn ended(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut attempts = self.under_way.iter_mut().enumerate();
        let ended = attempts.find_map(|(index, attempt)| match attempt.future.as_mut().poll(cx) {
            Poll::Ready(result) => Some((index, result)),
            Poll::Pending => None,
        });
        let Some((index, result)) = ended else {
            return Poll::Pending;
        };
        let attempt = self.under_way.remove(index);
        Poll::Ready(match result {
            Ok(made) => Some(made),
            Err(error) => {
                self.failed.push((attempt.address, error.to_string()));
                None
            }
        })
    }

    fn lost(self) -> DialError {
        let mut failed = self.failed;
        failed.extend(self.under_way.into_iter().map(|silent| {
            let waited = silent.began.elapsed().as_secs_f32();
            (silent.address, format!("no answer in {waited:.1} s"))
        }));
        DialError(failed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io;

    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A listener whose queue is full: the kernel drops what comes, as a route that leads nowhere does.
    async fn black_hole() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address("127.0.0.1:0")).unwrap();
        let listener = socket.listen(0).unwrap();
        let to = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(made) = timeout(Duration::from_millis(300), TcpStream::connect(to)).await {
            held.push(made.unwrap());
            assert!(held.len() < 64, "the queue does not fill up");
        }
        (listener, held)
    }

    #[tokio::test]
    async fn an_address_that_drops_packets_leaves_time_for_the_next() {
        let (hole, _held) = black_hole().await;
        let real = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (dead, alive) = (hole.local_addr().unwrap(), real.local_addr().unwrap());
        let began = Instant::now();
        let stream = first(&[dead, alive], LIMIT, TcpStream::connect).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), alive);
        assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed());

        let short = Duration::from_millis(300);
        let error = first(&[dead], short, TcpStream::connect).await.unwrap_err();
        let error = error.to_string();
        let named = error.starts_with(&format!("{dead}: no answer in "));
        assert!(named, "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_a_head_start_and_a_failed_one_nothing() {
        let (one, two) = (address("[2001:db8::1]:443"), address("192.0.2.1:443"));
        let began = Instant::now();
        let dial = async |silent: Option<SocketAddr>| {
            first(&[one, two], LIMIT, |address| async move {
                if Some(address) == silent {
                    return pending().await;
                }
                if address == two {
                    Ok(address)
                } else {
                    Err(io::Error::other("the certificate is another's"))
                }
            })
            .await
        };
        assert_eq!(dial(None).await.unwrap(), two);
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(dial(Some(one)).await.unwrap(), two);
        assert_eq!(began.elapsed(), HEAD_START);
        let error = dial(Some(two)).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "[2001:db8::1]:443: the certificate is another's; 192.0.2.1:443: no answer in 10.0 s"
        );
        assert_eq!(began.elapsed(), HEAD_START + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_keeps_the_whole_time_while_others_are_tried() {
        let (slow, dead) = (address("192.0.2.1:443"), address("192.0.2.2:443"));
        let both = [slow, dead];
        let made = first(&both, LIMIT, |address| async move {
            if address == dead {
                return Err("refused");
            }
            tokio::time::sleep(LIMIT - HEAD_START).await;
            Ok(address)
        });
        assert_eq!(made.await.unwrap(), slow);
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_of_many_addresses_has_its_turn() {
        let many: Vec<SocketAddr> = (1..=100)
            .map(|port| SocketAddr::from(([192, 0, 2, 1], port)))
            .collect();
        let made = first(&many, LIMIT, |address| async move {
            if address.port() < 100 {
                return pending::<Result<u16, io::Error>>().await;
            }
            Ok(address.port())
        });
        assert_eq!(made.await.unwrap(), 100);
        let none = first(&[], LIMIT, TcpStream::connect).await.unwrap_err();
        assert_eq!(none.to_string(), "there is no address");
    }

    #[test]
    fn families_take_turns_in_the_systems_order() {
        let ports = |all: &[&str]| -> Vec<u16> {
            let all: Vec<SocketAddr> = all.iter().map(|text| address(text)).collect();
            in_turn(&all).iter().map(SocketAddr::port).collect()
        };
        assert_eq!(
            ports(&["[::1]:1", "[::1]:3", "[::1]:4", "127.0.0.1:2"]),
            [1, 2, 3, 4]
        );
        assert_eq!(ports(&["127.0.0.1:1", "127.0.0.1:3", "[::1]:2"]), [1, 2, 3]);
        assert_eq!(ports(&["127.0.0.1:1"]), [1]);
    }
}
