//! The hook without any runtime: what it makes of networks, and what plugins are told, by the CNI specification.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use harness::{Runtime, Value, json, with_runtime};

use super::Net;

/// Stands for a container: a process in a network namespace and a mount namespace of its own, and a bundle.
pub struct Process {
    child: Child,
    id: String,
    bundle: PathBuf,
    annotations: Value,
}

impl Process {
    pub fn start(net: &Net<'_>, id: &str) -> Self {
        let bundle = net.rt.bundle();
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        // It is where it should be once it has said something.
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        Self { child, id: id.to_owned(), bundle: bundle.path().to_owned(), annotations: json!({}) }
    }

    pub fn state(&self, status: &str) -> Value {
        json!({"ociVersion": "1.0.2", "id": self.id, "status": status, "pid": self.child.id(), "bundle": self.bundle,
               "annotations": self.annotations})
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Writes down what it was told, and answers like a plugin of any version.
const RECORDER: &str = r#"name=$(basename $0)
echo "$CNI_COMMAND $name" >> $log
printf '%s' "$config" > $log.$CNI_COMMAND.$name
env | sort > $log.$CNI_COMMAND.$name.env
case $CNI_COMMAND in
ADD) printf '{"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.7/24"}], "dns": {"nameservers": ["192.0.2.1"]}, "by": "%s"}' $name ;;
VERSION) printf '{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0", "1.1.0"]}' ;;
esac"#;

fn told(net: &Net<'_>, command: &str, plugin: &str) -> Value {
    let path = net.dir.join(format!("log.{command}.{plugin}"));
    serde_json_of(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

fn serde_json_of(bytes: &[u8]) -> Value {
    String::from_utf8_lossy(bytes).parse().unwrap()
}

fn environment(net: &Net<'_>, command: &str, plugin: &str) -> Vec<String> {
    let text = fs::read_to_string(net.dir.join(format!("log.{command}.{plugin}.env"))).unwrap();
    // The shell's own.
    let own = ["PWD=", "_=", "SHLVL=", "OLDPWD="];
    text.lines().filter(|line| !own.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
}

fn words(net: &Net<'_>, verb: &str, config: &std::path::Path) -> Vec<String> {
    [vec![verb.to_owned()], net.words(config)].concat()
}

fn recorded<'a>(rt: &'a Runtime, plugins: &[&str]) -> Net<'a> {
    let net = Net::new(rt);
    plugins.iter().for_each(|name| net.plugin(name, RECORDER));
    net
}

#[test]
fn a_list_is_run_as_the_specification_says() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one", "two"]);
        let config = net.list(
            "net",
            json!([{"type": "one", "own": [1], "capabilities": {"mac": true, "portMappings": true}},
                   {"type": "two", "name": "wrong", "cniVersion": "0.1.0", "capabilities": {"portMappings": true}}]),
        );
        let mut container = Process::start(&net, "c");
        container.annotations = json!({
            "keg.cni.portMappings": "8080:80", "keg.cni.capabilities": "{\"mac\": \"02:00:00:00:00:01\"}", "keg.cni.args": "A=b;C=d",
        });
        let run = |verb: &str| {
            net.hook(&words(&net, verb, &config), &container.state("created")).env("SECRET", "yes").run()
        };
        run("add").silent();
        run("check").silent();
        run("del").silent();
        assert_eq!(net.log(), ["ADD one", "ADD two", "CHECK one", "CHECK two", "DEL two", "DEL one"]);

        let ports = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]);
        let one = json!({"cniVersion": "1.0.0", "name": "net", "type": "one", "own": [1],
                         "runtimeConfig": {"mac": "02:00:00:00:00:01", "portMappings": ports}});
        assert_eq!(told(&net, "ADD", "one"), one);
        let two = told(&net, "ADD", "two");
        assert_eq!(
            (&two["name"], &two["cniVersion"], &two["prevResult"]["by"]),
            (&json!("net"), &json!("1.0.0"), &json!("one"))
        );
        assert_eq!(two["runtimeConfig"], json!({"portMappings": ports}));
        for (command, plugin) in [("CHECK", "one"), ("CHECK", "two"), ("DEL", "one"), ("DEL", "two")] {
            let told = told(&net, command, plugin);
            assert_eq!(told["prevResult"]["by"], "two", "{command} {plugin}");
            assert_eq!(told["runtimeConfig"]["portMappings"], ports, "{command} {plugin}");
        }
        let own = net.dir.join("plugins");
        // Its own word, by which it knows plugins of its own again.
        let token = |environment: Vec<String>| {
            let (own, rest): (Vec<_>, Vec<_>) =
                environment.into_iter().partition(|entry| entry.starts_with("KEG_HOOK_CNI=c.eth0."));
            assert_eq!(own.len(), 1);
            rest
        };
        let expected = |command: &str| {
            let path = std::env::var("PATH").unwrap();
            vec![
                "CNI_ARGS=A=b;C=d".to_owned(),
                format!("CNI_COMMAND={command}"),
                "CNI_CONTAINERID=c".to_owned(),
                "CNI_IFNAME=eth0".to_owned(),
                "CNI_NETNS=/run/keg-hook-cni/containers/c/netns".to_owned(),
                format!("CNI_PATH=/usr/lib/cni:{}", own.display()),
                format!("PATH={path}"),
            ]
        };
        for command in ["ADD", "CHECK", "DEL"] {
            for plugin in ["one", "two"] {
                assert_eq!(token(environment(&net, command, plugin)), expected(command));
            }
        }
        // A second DEL has nothing to do.
        run("del").silent();
        assert_eq!(net.log().len(), 6);
    });
}

#[test]
fn del_needs_no_configuration_any_more() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one"]);
        let config = net.list("net", json!([{"type": "one", "of": "then"}]));
        let container = Process::start(&net, "c");
        net.hook(&words(&net, "add", &config), &container.state("created")).run().ok();
        fs::remove_file(&config).unwrap();
        let state = container.state("stopped");
        drop(container);
        net.hook(&[], &state).run().silent();
        assert_eq!(told(&net, "DEL", "one")["of"], "then");
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

#[test]
fn a_failing_add_is_undone_by_all_plugins() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one", "three"]);
        net.plugin("two", &format!("{RECORDER}\n[ $CNI_COMMAND = ADD ] && exit 3\nexit 0"));
        let config = net.list("net", json!([{"type": "one"}, {"type": "two"}, {"type": "three"}]));
        let container = Process::start(&net, "c");
        let message = net
            .hook(&words(&net, "add", &config), &container.state("created"))
            .run()
            .fails_with("exit status 3");
        assert!(
            message.starts_with("keg-hook-cni: network \"net\": plugin \"two\": ADD: exit status 3"),
            "{message}"
        );
        assert_eq!(net.log(), ["ADD one", "ADD two", "DEL three", "DEL two", "DEL one"]);
        assert_eq!(told(&net, "DEL", "one")["prevResult"]["by"], "one");
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

/// A plugin that cannot undo is asked again, and keeps nobody else from it.
#[test]
fn a_failing_del_is_remembered() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one"]);
        net.plugin("two", &format!("{RECORDER}\n[ $CNI_COMMAND != DEL ] || [ -e $log.fine ] || exit 3"));
        let config = net.list("net", json!([{"type": "one"}, {"type": "two"}]));
        let container = Process::start(&net, "c");
        net.hook(&words(&net, "add", &config), &container.state("created")).run().ok();
        let del = || net.hook(&["del".to_owned()], &container.state("stopped")).run();
        del().fails_with("plugin \"two\": DEL: exit status 3");
        assert_eq!(net.log(), ["ADD one", "ADD two", "DEL two", "DEL one"]);
        assert_eq!(net.look().containers, ["c"]);
        fs::write(net.dir.join("log.fine"), "").unwrap();
        del().ok();
        assert_eq!(net.log()[4..], ["DEL two", "DEL one"]);
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

#[test]
fn versions_are_negotiated_and_garbage_is_collected() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one"]);
        let old = RECORDER.replace(", \"1.1.0\"]", "]");
        net.plugin("old", &old);
        let list = |name: &str, plugins: Value| {
            net.file(name, &json!({"cniVersion": "0.4.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"], "name": name, "plugins": plugins}))
        };
        let (new, mixed) =
            (list("new", json!([{"type": "one"}])), list("mixed", json!([{"type": "one"}, {"type": "old"}])));
        let (stays, goes) = (Process::start(&net, "stays"), Process::start(&net, "goes"));
        net.hook(&words(&net, "add", &mixed), &stays.state("created")).run().ok();
        assert_eq!(told(&net, "ADD", "old")["cniVersion"], "1.0.0");
        net.hook(&words(&net, "del", &mixed), &stays.state("created")).run().ok();
        for container in [&stays, &goes] {
            net.hook(&words(&net, "add", &new), &container.state("created")).run().ok();
            assert_eq!(told(&net, "ADD", "one")["cniVersion"], "1.1.0");
        }
        drop(goes);
        fs::remove_file(net.dir.join("log")).unwrap();
        net.hook(&words(&net, "gc", &new), &json!({})).run().silent();
        assert_eq!(net.log(), ["VERSION one", "DEL one", "GC one"]);
        let valid = &told(&net, "GC", "one")["cni.dev/valid-attachments"];
        assert_eq!(*valid, json!([{"containerID": "stays", "ifname": "eth0"}]));
        assert!(!environment(&net, "GC", "one").iter().any(|entry| entry.starts_with("CNI_CONTAINERID=")));
        assert_eq!(net.look().containers, ["stays"]);
        // No GC before version 1.1.0.
        net.hook(&words(&net, "gc", &mixed), &json!({})).run().ok();
        assert!(!net.log().contains(&"GC old".to_owned()), "{:?}", net.log());
        net.hook(&words(&net, "del", &new), &stays.state("created")).run().ok();
    });
}

/// Debian's plugins look whether all is as they left it.
#[test]
fn check_finds_what_somebody_has_broken() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.list("net", json!([net.bridge(88, 10, 250), {"type": "tuning"}]));
        let container = Process::start(&net, "c");
        let run = |verb: &str| net.hook(&words(&net, verb, &config), &container.state("created")).run();
        run("check").fails_with("container c is attached to no network");
        run("add").ok();
        run("check").silent();
        run("add").fails_with("network \"net\": container c is attached to it already");
        run("check").silent();
        net.program(&format!("nsenter --net=/proc/{}/ns/net ip addr flush dev eth0", container.child.id()));
        run("check").fails_with("plugin \"bridge\": CHECK: ");
        run("del").ok();
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

#[test]
fn an_argument_that_no_plugin_takes_is_an_error() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one"]);
        let config = net.list("net", json!([{"type": "one"}]));
        let mut container = Process::start(&net, "c");
        container.annotations = json!({"keg.cni.portMappings": "8080:80"});
        let done = net.hook(&words(&net, "add", &config), &container.state("created")).run();
        done.fails_with("no plugin of network net has the capability portMappings");
        assert_eq!(net.log().len(), 0);
    });
}

/// Networks by name, and the first of the directory.
#[test]
fn networks_are_found_in_their_directory() {
    with_runtime(|rt| {
        let net = recorded(rt, &["one", "two"]);
        let dir = net.dir.join("net.d");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("10-a.conf"), r#"{"cniVersion": "0.4.0", "name": "a", "type": "one"}"#).unwrap();
        fs::write(
            dir.join("20-b.conflist"),
            r#"{"cniVersion": "1.0.0", "name": "b", "plugins": [{"type": "two"}]}"#,
        )
        .unwrap();
        let container = Process::start(&net, "c");
        let own = net.dir.join("plugins").display().to_string();
        let common = ["--config-dir", dir.to_str().unwrap(), "--plugin-dir", &own];
        let run = |more: &[&str]| {
            let words: Vec<_> = more.iter().chain(&common).map(|&word| word.to_owned()).collect();
            net.hook(&words, &container.state("creating")).run()
        };
        run(&[]).silent();
        run(&["--config", "b"]).silent();
        run(&["--config", "c"]).fails_with("no network \"c\" in ");
        assert_eq!(net.log(), ["ADD one", "ADD two"]);
        let interface = |plugin: &str| {
            let all = environment(&net, "ADD", plugin);
            all.iter().find_map(|entry| entry.strip_prefix("CNI_IFNAME=").map(str::to_owned)).unwrap()
        };
        assert_eq!((interface("one").as_str(), interface("two").as_str()), ("eth0", "eth1"));
        run(&["del"]).silent();
        assert_eq!(net.log()[2..], ["DEL two", "DEL one"]);
    });
}
