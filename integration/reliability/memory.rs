//! A container with very little memory: it starts, or `run` says that memory is what it lacked. Nothing hangs.

use std::time::{Duration, Instant};

use harness::{json, with_runtime};

#[test]
fn from_a_quarter_of_a_mebibyte_up() {
    with_runtime(|rt| {
        if !rt.only_keg("others need megabytes, and say `broken pipe`") {
            return;
        }
        let mut started = Vec::new();
        for kib in [128, 256, 512, 1024, 2048, 4096, 8192] {
            let bundle = rt.bundle();
            bundle.edit(|c| c["linux"]["resources"]["memory"] = json!({"limit": kib << 10}));
            let start = Instant::now();
            let done = rt.run(&bundle, "c");
            assert!(start.elapsed() < Duration::from_secs(10), "{kib} KiB: {:?}", start.elapsed());
            let message = done.stderr();
            match done.status.code() {
                Some(0) => started.push(kib),
                // Set-up was killed, or a limit below what is in use was refused; or the program was killed.
                Some(1) => assert!(
                    message.contains("OOM") || message.contains("memory"),
                    "{kib} KiB: {}",
                    done.describe()
                ),
                Some(137) => {}
                other => panic!("{kib} KiB: {other:?}: {}", done.describe()),
            }
            rt.delete_force("c");
        }
        assert!(started.contains(&4096), "set-up costs the container more than 4 MiB: {started:?}");
    });
}
