//! Many starts at once: how many a second, and how long the slowest has to wait.

use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use crate::Result;
use crate::blocks::order;
use crate::operations::Bench;
use crate::results::{Row, milliseconds};
use crate::runtimes::Runtime;

pub const THROUGHPUT: &str = "64 starts at once: in all";
pub const EACH: &str = "64 starts at once: each";

const STARTS: usize = 64;
/// In each round.
const BATCHES: usize = 2;

pub fn measure(bench: &Bench) -> Vec<Row> {
    let mut records: Vec<Record> = bench.runtimes.iter().map(|_| Record::default()).collect();
    for round in 0..bench.rounds {
        for subject in order(records.len(), round) {
            let (runtime, record) = (&bench.runtimes[subject], &mut records[subject]);
            for _ in 0..BATCHES {
                if record.failures < 3 {
                    batch(bench, runtime, record);
                }
                sleep(Duration::from_millis(300));
            }
        }
    }
    let rows = |(runtime, record): (&Runtime, Record)| {
        let rate = Row::new(THROUGHPUT, runtime.name, "starts/s").with(record.rates).noting(record.why);
        [rate, Row::new(EACH, runtime.name, "ms").with(milliseconds(&record.times))]
    };
    let mut rows: Vec<Row> = bench.runtimes.iter().zip(records).flat_map(rows).collect();
    rows.sort_by_key(|row| row.workload != THROUGHPUT);
    rows
}

#[derive(Default)]
struct Record {
    times: Vec<Duration>,
    rates: Vec<f64>,
    failures: usize,
    why: String,
}

fn batch(bench: &Bench, runtime: &Runtime, record: &mut Record) {
    match starts(bench, runtime) {
        Ok((all, times)) => {
            record.rates.push(STARTS as f64 / all.as_secs_f64());
            record.times.extend(times);
        }
        Err(error) => {
            record.failures += 1;
            record.why = format!("{} batches failed: {error}", record.failures);
            bench.recover(runtime);
        }
    }
}

/// How long all took together, and each of them.
fn starts(bench: &Bench, runtime: &Runtime) -> Result<(Duration, Vec<Duration>)> {
    let names: Vec<String> = (0..STARTS).map(|number| format!("{}-at-once-{number}", runtime.name)).collect();
    let bundles: Result<Vec<String>> = names.iter().map(|name| bench.bundles.make(name, |_| ())).collect();
    let start = Instant::now();
    // What goes wrong crosses threads as text.
    let outcomes: Vec<std::result::Result<Duration, String>> = scope(|scope| {
        let one = |(bundle, name): (String, &String)| {
            let name = name.clone();
            scope.spawn(move || {
                runtime.call(&["run", "--bundle", &bundle, &name]).map_err(|error| error.to_string())
            })
        };
        let threads: Vec<_> = bundles.into_iter().flatten().zip(&names).map(one).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("panicked".to_owned())))
            .collect()
    });
    let all = start.elapsed();
    let times: std::result::Result<Vec<Duration>, String> = outcomes.into_iter().collect();
    Ok((all, times?))
}
