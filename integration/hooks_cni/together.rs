//! Containers of one network: they reach each other, know each other's names, serve to the host, and leave nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Runtime, json, wait_until, with_runtime};

use super::{Net, get};

/// The command of a container that serves its own name.
fn serving(name: &str) -> String {
    format!(
        "mkdir -p /tmp/www && echo i am {name} > /tmp/www/index.html && exec /bin/busybox httpd -f -p 80 -h /tmp/www"
    )
}

/// What a container gets from another one. (The wget of Debian's static busybox ends by a signal.)
fn ask(rt: &Runtime, from: &str, name: &str) -> String {
    let script = format!("{} | grep '^i am'", request(name));
    rt.command(&["exec", from, "/bin/sh", "-c", &script]).run().stdout()
}

fn request(name: &str) -> String {
    format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | /bin/busybox nc {name} 80")
}

#[track_caller]
fn serves(net: &Net<'_>, address: &str, name: &str) {
    let mut answer = None;
    wait_until(&format!("{name} answers at {address}"), Duration::from_secs(15), || {
        answer = get(address);
        answer.as_ref().is_some_and(|text| text.contains("200 OK"))
    });
    assert!(answer.unwrap().ends_with(&format!("i am {name}\n")), "{:?}", net.look().rules);
}

/// As ordinary hooks, with any runtime.
#[test]
fn containers_reach_each_other_by_name_and_the_host_a_published_port() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        for (name, port) in [("web", 8081), ("db", 8082)] {
            let bundle = net.bundle(&config, &[]);
            bundle.shell(&serving(name)).edit(|c| {
                c["root"]["readonly"] = json!(false);
                c["hostname"] = json!(format!("{name}-host"));
                c["annotations"] = json!({"keg.cni.portMappings": format!("{port}:80/tcp"), "keg.cni.aliases": format!("the-{name}")});
            });
            rt.create(&bundle, name).ok();
            rt.start(name).ok();
        }
        for (name, port) in [("web", 8081), ("db", 8082)] {
            for host in ["127.0.0.1", "10.88.0.1"] {
                serves(&net, &format!("{host}:{port}"), name);
            }
        }
        for (from, to) in [("web", "db"), ("db", "web"), ("web", "web")] {
            for called in [to.to_owned(), format!("{to}-host"), format!("the-{to}")] {
                assert_eq!(ask(rt, from, &called), format!("i am {to}\n"), "{called} from {from}");
            }
        }
        // Who goes is forgotten by those who stay.
        rt.delete_force("web");
        assert_eq!(ask(rt, "db", "web"), "");
        let hosts = rt.command(&["exec", "db", "/bin/cat", "/etc/hosts"]).run().ok().stdout();
        assert_eq!(hosts.matches("10.88.").count(), 1, "{hosts}");
        assert_eq!(get("127.0.0.1:8081"), None);
        rt.delete_force("db");
        net.assert_same(&before, "after delete");
    });
}

/// An image whose entry point is a shell, below the test's own directory.
fn image(rt: &Runtime) -> String {
    let layout = rt.dir().join("image");
    let small = harness::runtime::target().join("images/small");
    let copy = ["cp", "-a", small.to_str().unwrap(), layout.to_str().unwrap()];
    rt.program(&copy).run().ok();
    let tag = format!("{}:latest", layout.display());
    rt.program(&[
        "umoci",
        "config",
        "--image",
        &tag,
        "--config.entrypoint",
        "/bin/sh",
        "--config.workingdir",
        "/",
    ])
    .run()
    .ok();
    tag
}

/// keg finds the hook beside itself.
fn with_hook_beside(rt: &Runtime, net: &Net<'_>) -> bool {
    let beside: PathBuf = rt.binary().with_file_name("keg-hook-cni");
    rt.only_keg("others take no images") && net.hook == beside
}

#[test]
fn containers_of_an_image_have_a_network_by_one_flag() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        if !with_hook_beside(rt, &net) {
            return;
        }
        let config = net.usual("usual");
        let before = net.used(&config);
        let image = image(rt);
        let hook = format!("cni={}", config.display());
        let run = |id: &str, port: &str| {
            let annotation = format!("keg.cni.portMappings={port}:80");
            let script = serving(id);
            let words = [
                "run",
                "--image",
                &image,
                "--hook",
                &hook,
                "--annotation",
                &annotation,
                "--detach",
                id,
                "--",
                "-c",
                &script,
            ];
            rt.command(&words).redirect(">/dev/null 2>&1").run().ok();
        };
        run("web", "8081");
        run("db", "8082");
        serves(&net, "127.0.0.1:8081", "web");
        serves(&net, "127.0.0.1:8082", "db");
        assert_eq!(ask(rt, "web", "db"), "i am db\n");
        assert_eq!(ask(rt, "db", "web"), "i am web\n");
        // In the foreground, a third one asks both and leaves.
        let script = format!("for name in web db; do {} | grep '^i am'; done; exit 7", request("$name"));
        let third =
            rt.command(&["run", "--image", &image, "--hook", &hook, "third", "--", "-c", &script]).run();
        assert_eq!(
            (third.code(), third.stdout().as_str()),
            (7, "i am web\ni am db\n"),
            "{}",
            third.describe()
        );
        rt.delete_force("web");
        rt.delete_force("db");
        net.assert_same(&before, "after delete");
        assert!(!Path::new("/run/keg-hook-cni/containers/web").exists());
    });
}

/// An image must not publish ports of the host, or choose its address, by labels of its own.
#[test]
fn the_labels_of_an_image_say_nothing_to_hooks() {
    with_runtime(|rt| {
        let id = &*rt.unique();
        let net = Net::new(rt);
        if !with_hook_beside(rt, &net) {
            return;
        }
        let config = net.usual("usual");
        let image = image(rt);
        let labels = ["--config.label", "keg.cni.portMappings=8083:80", "--config.label", "keg.cni.args=A=b"];
        let words = [&["umoci", "config", "--image", image.as_str()], &labels[..]].concat();
        rt.program(&words).run().ok();
        let hook = format!("cni={}", config.display());
        let words = ["create", "--image", &image, "--hook", &hook, id];
        rt.command(&words).run().ok();
        let record = fs::read_to_string(format!("/run/keg-hook-cni/containers/{id}/eth0.json")).unwrap();
        let record: harness::Value = serde_json::from_str(&record).unwrap();
        assert_eq!((&record["arguments"], &record["args"]), (&json!({}), &json!("")));
        rt.delete_force(id);
    });
}

/// A container that has two networks.
#[test]
fn a_container_is_in_several_networks() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let front = net.list("front", json!([net.bridge(88, 10, 250)]));
        let back = net.list("back", json!([net.bridge(89, 10, 250)]));
        let both = [front.clone(), back.clone()].map(|path| path.display().to_string());
        let bundle = |name: &str, config: &Path, more: &[&str]| {
            let bundle = net.bundle(config, more);
            bundle.shell(&serving(name)).edit(|c| c["root"]["readonly"] = json!(false));
            rt.create(&bundle, name).ok();
            rt.start(name).ok();
        };
        bundle("proxy", &front, &["--config", &both[1]]);
        bundle("web", &front, &[]);
        bundle("db", &back, &[]);
        wait_until("all serve", Duration::from_secs(15), || {
            ["web", "db"].iter().all(|name| ask(rt, "proxy", name) == format!("i am {name}\n"))
        });
        assert_eq!(ask(rt, "web", "proxy"), "i am proxy\n");
        assert_eq!(ask(rt, "db", "proxy"), "i am proxy\n");
        assert_eq!(ask(rt, "web", "db"), "", "no network in common");
        for name in ["proxy", "web", "db"] {
            rt.delete_force(name);
        }
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}
