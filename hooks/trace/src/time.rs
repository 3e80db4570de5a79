//! A moment as RFC 3339 has it, in UTC, with nanoseconds.

use std::time::{SystemTime, UNIX_EPOCH};

use timestamp::Timestamp;

// The calendar is keg's own.
#[path = "../../../src/types/timestamp.rs"]
mod timestamp;

/// `2026-01-31T23:59:59.123456789Z`, always with nine digits. A clock set to before 1970 reads as 1970.
pub fn text(time: SystemTime) -> String {
    let nanoseconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().subsec_nanos();
    let seconds = Timestamp::from(time).whole_seconds().to_string();
    format!("{}.{nanoseconds:09}Z", seconds.trim_end_matches('Z'))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn moments() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 5, "2000-02-28T23:59:59.000000005Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000000Z"),
            (1_798_761_599, 120_000_000, "2026-12-31T23:59:59.120000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(super::text(UNIX_EPOCH + Duration::new(seconds, nanoseconds)), text);
        }
    }
}
