//! A buildkitd of its own, which Debian 12 has not: the programs named by BUILDKITD and BUILDCTL, by the lines of the page.

use std::fs;
use std::time::Duration;

use harness::runtime::target;
use harness::{Command, Daemon, Finished, Note, Runtime, Seen, Value, docs, same_as_runc};

const LIMIT: Duration = Duration::from_secs(60);

const STEPS: &str = "FROM base\n\
    RUN echo built > /built && chown 1000:1000 /built && id && grep -E '^(Cap|Seccomp|NoNewPrivs|Groups)' /proc/self/status\n\
    USER 1000\nRUN id -u && cat /built && ! touch /not-mine\nUSER 0\n\
    RUN --mount=type=tmpfs,target=/a --mount=type=cache,target=/b touch /a/x /b/x && grep -cE ' /(a|b) ' /proc/mounts\n\
    RUN --network=none ls /sys/class/net\n";

/// A buildkitd with the runtime under test. It is stopped when dropped.
struct BuildKit<'a> {
    _daemon: Daemon,
    rt: &'a Runtime,
    buildctl: String,
    base: String,
}

impl<'a> BuildKit<'a> {
    fn start(rt: &'a Runtime, buildkitd: &str, buildctl: String) -> Self {
        let path = |name: &str| rt.dir().join(name).display().to_string();
        let page = docs::block("buildkit.md", "toml", "worker.oci");
        assert!(page.contains(docs::INSTALLED), "{page}");
        let page = page.replace(docs::INSTALLED, &rt.binary().display().to_string());
        let config = format!(
            "root = \"{}\"\n[grpc]\n  address = [\"unix://{}\"]\n[worker.containerd]\n  enabled = false\n{page}\n  \
             networkMode = \"host\"\n  defaultCgroupParent = \"{}\"\n",
            path("buildkit"),
            path("sock"),
            rt.cgroup_prefix(),
        );
        fs::write(path("buildkitd.toml"), config).unwrap();
        let words = ["debug", "workers"];
        let answers = || command(rt, &buildctl, &words).run().status.success();
        let daemon = Daemon::start(rt, &[buildkitd, "--config", &path("buildkitd.toml")], answers);
        let index = fs::read(target().join("images/small/index.json")).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let base = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        fs::create_dir(path("context")).unwrap();
        Self { _daemon: daemon, rt, buildctl, base }
    }

    fn build(&self, steps: &str) -> Finished {
        let path = |name: &str| self.rt.dir().join(name).display().to_string();
        fs::write(path("context/Dockerfile"), steps).unwrap();
        let local = |name: &str| format!("{name}={}", path("context"));
        let layout = format!("base={}", target().join("images/small").display());
        let from = format!("context:base=oci-layout://base@{}", self.base);
        let output = format!("type=tar,dest={}", path("built.tar"));
        let first = ["build", "--progress", "plain", "--no-cache", "--frontend", "dockerfile.v0"];
        let rest = ["--local", &local("context"), "--local", &local("dockerfile"), "--oci-layout", &layout];
        let words = [&first[..], &rest, &["--opt", &from, "--output", &output]].concat();
        command(self.rt, &self.buildctl, &words).run()
    }
}

fn command(rt: &Runtime, buildctl: &str, words: &[&str]) -> Command {
    let address = format!("unix://{}", rt.dir().join("sock").display());
    rt.program(&[&[buildctl, "--addr", &address][..], words].concat()).limit(LIMIT)
}

/// What the steps wrote, without the times and the numbers of steps in front of each line.
fn lines(done: &Finished) -> Vec<String> {
    let text = done.stderr();
    let words = text.lines().filter_map(|line| {
        let (step, line) = line.split_once(' ')?;
        let (time, line) = line.split_once(' ')?;
        (step.starts_with('#') && time.parse::<f64>().is_ok()).then(|| line.to_owned())
    });
    words.collect()
}

#[test]
fn a_build_by_a_buildkitd_of_its_own() {
    let (Ok(buildkitd), Ok(buildctl)) = (std::env::var("BUILDKITD"), std::env::var("BUILDCTL")) else {
        return eprintln!("skipped: BUILDKITD and BUILDCTL do not name the programs");
    };
    same_as_runc(|rt| {
        let buildkit = BuildKit::start(rt, &buildkitd, buildctl.clone());
        let mut seen = Seen::new();
        let built = buildkit.build(STEPS).ok();
        let said = lines(&built);
        assert!(said.iter().any(|line| line == "1000") && said.iter().any(|line| line == "lo"), "{said:?}");
        seen.push(("what the steps see".to_owned(), 0, said.join("\n")));
        let tar = rt.dir().join("built.tar").display().to_string();
        let listed =
            rt.program(&["tar", "--list", "--verbose", "--numeric-owner", "--file", &tar]).run().ok();
        let of_one_build = |line: &&str| line.contains(" built") || line.contains("bin/busybox");
        let listed: Vec<_> = listed.stdout().lines().filter(of_one_build).map(without_time).collect();
        assert!(listed.iter().any(|line| line.contains("1000/1000")), "{listed:?}");
        seen.push(("what was built".to_owned(), 0, listed.join("\n")));
        let failed = buildkit.build("FROM base\nRUN exit 9\n");
        assert!(failed.stderr().contains("exit code: 9"), "{}", failed.describe());
        seen.code("a step that fails", &failed);
        let failed = buildkit.build("FROM base\nRUN [\"/no/such\"]\n");
        assert!(failed.stderr().contains("no such file or directory"), "{}", failed.describe());
        seen.code("a program that is not there", &failed);
        seen
    });
}

/// A line of tar's list: mode, owner, size, date, time, name.
fn without_time(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    [&words[..3], &words[5..]].concat().join(" ")
}
