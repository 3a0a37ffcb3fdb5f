//! Header fields: what is written is read again, and nothing malformed passes or panics.

use super::*;
use http::HeaderValue;
use world::World;

#[test]
fn what_is_written_is_read() {
    let load = Load { inflight: 1.25, rps: 10.0, bytes_per_s: 12_345.0, latency_ms: 3.5, waiting: 0 };
    assert_eq!(load.to_header(), "inflight=1.25, rps=10.0, bps=12345.0, latency=3.5, waiting=0");
    assert_eq!(Load::from_header(&load.to_header()), Ok(load));
    let seen = TableSeen { generation: Generation(5), age_ms: 1200 };
    assert_eq!(seen.to_header(), "gen=5, age=1200");
    assert_eq!(TableSeen::from_header(&seen.to_header()), Ok(seen));
    let place = Place::new(-33.5, 151.25).expect("valid");
    assert_eq!(Place::from_header(&place.to_header()), Ok(place));
    let table = table_to_header(b"\x00\xff table").expect("short");
    assert_eq!(table_from_header(&table), Ok(b"\x00\xff table".to_vec()));
}

#[test]
fn extreme_own_values_still_make_a_header() {
    let wild =
        Load { inflight: f64::NAN, rps: f64::INFINITY, bytes_per_s: 1e300, latency_ms: -4.0, waiting: u32::MAX };
    let read = Load::from_header(&wild.to_header()).expect("bounded");
    assert_eq!((read.inflight, read.rps, read.latency_ms), (0.0, 0.0, 0.0));
    assert_eq!((read.bytes_per_s, read.waiting), (MAX_LOAD_VALUE, u32::MAX));
    let seen = TableSeen { generation: Generation(u64::MAX), age_ms: u64::MAX };
    assert!(TableSeen::from_header(&seen.to_header()).is_ok());
    assert_eq!(table_to_header(&vec![0; MAX_TABLE_HEADER_BYTES]), None);
}

#[test]
fn garbage_is_named() {
    let good = "inflight=1.0, rps=1, bps=1, latency=1, waiting=1";
    assert!(Load::from_header(good).is_ok());
    assert!(Load::from_header(&format!("{good}, future=?1;x=2")).is_ok(), "unknown members are ignored");
    let member = |member| HeaderError::Member { name: LOAD, member };
    let malformed = HeaderError::Malformed { name: LOAD };
    for (text, expected) in [
        ("", member("inflight")),
        ("inflight", member("inflight")),
        ("inflight=-1, rps=1, bps=1, latency=1, waiting=1", member("inflight")),
        ("inflight=1, rps=1, bps=1, latency=1, waiting=1.5", member("waiting")),
        ("inflight=1, rps=1, bps=1, latency=1, waiting=-1", member("waiting")),
        ("inflight=1, rps=1, bps=1, latency=1, waiting=4294967296", member("waiting")),
        ("inflight=\"1\", rps=1, bps=1, latency=1, waiting=1", member("inflight")),
        ("inflight=(1 2), rps=1, bps=1, latency=1, waiting=1", member("inflight")),
        ("inflight=1, rps=1, bps=999999999999, latency=1, waiting=1", member("bps")),
        ("inflight=NaN", member("inflight")),
        ("inflight=1e5", malformed.clone()),
        ("inflight=1,,rps=2", malformed.clone()),
        ("=", malformed.clone()),
        ("inflight=1111111111111.1", malformed.clone()),
        ("\u{e9}", malformed.clone()),
    ] {
        assert_eq!(Load::from_header(text), Err(expected), "{text}");
    }
    let long = format!("{good}, x={}", "1".repeat(MAX_HEADER_BYTES));
    assert!(matches!(Load::from_header(&long), Err(HeaderError::TooLong { .. })));
    for bad in ["gen=1", "gen=-1, age=1", "gen=1.0, age=1", "age=1;gen=1"] {
        assert!(TableSeen::from_header(bad).is_err(), "{bad}");
    }
    for bad in ["lat=91, lon=0", "lat=1", "lat=?1, lon=1"] {
        assert!(Place::from_header(bad).is_err(), "{bad}");
    }
    for bad in ["a b", "+/==", "a", &"A".repeat(MAX_TABLE_HEADER_BYTES + 4)] {
        assert!(table_from_header(bad).is_err());
    }
}

#[test]
fn no_bytes_make_a_parser_panic() {
    let (world, _) = World::simulated(11);
    let seeds: [&[u8]; 4] = [
        b"inflight=1.25, rps=10.0, bps=12345.0, latency=3.5, waiting=0",
        b"gen=5, age=1200",
        b"lat=1.5, lon=-3.25",
        b"?1",
    ];
    for round in 0..20_000usize {
        let mut bytes = seeds[round % seeds.len()].to_vec();
        for _ in 0..=world.entropy.number() % 4 {
            let random = world.entropy.number();
            let at = usize::try_from(random % bytes.len() as u64).expect("small");
            bytes[at] = (random >> 32) as u8;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(load) = Load::from_header(&text) {
            assert_eq!(load, load.bounded(), "{text}");
        }
        let _ = TableSeen::from_header(&text);
        let _ = Place::from_header(&text);
        let _ = table_from_header(&text);
        let _ = manifest_from_header(&text);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert(ELSEWHERE, value);
            let _ = is_elsewhere(&headers);
        }
    }
}

#[test]
fn elsewhere_is_said_once_and_plainly() {
    for (values, expected) in [
        (vec!["?1"], true),
        (vec!["?1;why=drain"], true),
        (vec!["?0"], false),
        (vec!["1"], false),
        (vec!["?1", "?1"], false),
        (vec![], false),
    ] {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append(ELSEWHERE, HeaderValue::from_static(value));
        }
        assert_eq!(is_elsewhere(&headers), expected, "{values:?}");
    }
}
