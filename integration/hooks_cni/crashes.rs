//! SIGKILL of keg or of the hook at any moment: `delete --force`, or DEL, leaves nothing of the network.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use harness::{Command, wait_until, with_runtime};

use super::Net;
use super::alone::Process;
use crate::reliability::points::{Point, interrupted, of_command, sample};

const KILL: &str = "signal=SIGKILL";

#[test]
fn keg_is_killed_anywhere_in_create() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave what they had made") {
            return;
        }
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        let bundle = net.bundle(&config, &[]);
        let create = || rt.command(&["create", "--bundle", &bundle.arg(), "c"]);
        let all = of_command(rt, create(), false);
        rt.delete_force("c");
        // After the hook has run, which is where most can be left.
        let late = all.len() / 2;
        for point in sample(all, 24).split_off(if late > 24 { 10 } else { 0 }) {
            interrupted(create(), &point, KILL, false).run();
            rt.delete_force("c");
            net.assert_same(&before, &format!("{point:?}"));
        }
    });
}

#[test]
fn keg_is_killed_anywhere_in_delete() {
    with_runtime(|rt| {
        if !rt.only_keg("others forget their containers before the hooks have run") {
            return;
        }
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        let bundle = net.bundle(&config, &[]);
        let create = || rt.create(&bundle, "c").ok();
        let delete = || rt.command(&["delete", "--force", "c"]);
        create();
        let points = sample(of_command(rt, delete(), false), 14);
        for point in points {
            create();
            interrupted(delete(), &point, KILL, false).run();
            rt.delete_force("c");
            net.assert_same(&before, &format!("{point:?}"));
        }
    });
}

/// Waits in ADD until it is let go; what it does then is what a later DEL would miss.
const SLOW: &str = "echo $CNI_COMMAND $PPID >> $log
[ $CNI_COMMAND = ADD ] || exit 0
touch $log.begun; until [ -e $log.go ]; do sleep 0.05; done
printf '{\"cniVersion\": \"1.0.0\"}'";

fn pid_of_hook(net: &Net<'_>) -> Pid {
    let log = net.log();
    let pid = log[0].strip_prefix("ADD ").unwrap();
    Pid::from_raw(pid.parse().unwrap())
}

/// keg dies while the hook attaches; who deletes waits for the hook, and then undoes what it did.
#[test]
fn keg_is_killed_while_the_hook_is_at_work() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave a hook's work behind") {
            return;
        }
        let net = Net::new(rt);
        net.plugin("slow", SLOW);
        let config = net
            .list("slow", harness::json!([net.bridge(88, 10, 250), {"type": "slow"}, {"type": "firewall"}]));
        let (begun, go) = (net.dir.join("log.begun"), net.dir.join("log.go"));
        let bundle = net.bundle(&config, &[]);
        let create = rt.command(&["create", "--bundle", &bundle.arg(), "c"]).spawn();
        wait_until("the plugin runs", Duration::from_secs(10), || begun.exists());
        create.signal(Signal::SIGKILL);
        drop(create);
        let mut delete = rt.command(&["delete", "--force", "c"]).limit(Duration::from_secs(40)).spawn();
        std::thread::sleep(Duration::from_millis(300));
        assert!(!delete.has_ended(), "nobody waited for the hook");
        fs::write(&go, "").unwrap();
        delete.wait().ok();
        let log: Vec<_> = net.log().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(log, ["ADD", "DEL"]);
        assert!(net.look().is_unused(), "{:#?}", net.look());
    });
}

/// keg and the hook die, the plugin lives on: it is ended before anything is undone.
#[test]
fn the_hook_is_killed_while_a_plugin_is_at_work() {
    with_runtime(|rt| {
        if !rt.only_keg("others leave a hook's work behind") {
            return;
        }
        let net = Net::new(rt);
        net.plugin("slow", SLOW);
        let config = net.list("slow", harness::json!([net.bridge(88, 10, 250), {"type": "slow"}]));
        let begun = net.dir.join("log.begun");
        for with_keg in [true, false] {
            let bundle = net.bundle(&config, &[]);
            let create = rt.command(&["create", "--bundle", &bundle.arg(), "c"]).spawn();
            wait_until("the plugin runs", Duration::from_secs(10), || begun.exists());
            let hook = pid_of_hook(&net);
            if with_keg {
                create.signal(Signal::SIGKILL);
            }
            kill(hook, Signal::SIGKILL).unwrap();
            if with_keg {
                drop(create);
                rt.delete_force("c");
            } else {
                create.wait().fails_with("killed by signal 9");
            }
            rt.assert_gone("c");
            assert!(net.look().is_unused(), "{:#?}", net.look());
            assert_eq!(net.log().len(), 2, "{:?}", net.log());
            let alive = rt.program(&["pgrep", "-f", net.dir.join("plugins/slow").to_str().unwrap()]).run();
            assert_eq!(alive.stdout(), "", "the plugin is still at work");
            for name in ["log", "log.begun"] {
                fs::remove_file(net.dir.join(name)).unwrap();
            }
        }
    });
}

/// The hook alone, killed at its own system calls; a second ADD, or DEL, finds what it left.
#[test]
fn the_hook_is_killed_anywhere_in_add() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        let container = Process::start(&net, "c");
        let add =
            || net.hook(&[vec!["add".to_owned()], net.words(&config)].concat(), &container.state("created"));
        let del = || net.hook(&["del".to_owned()], &container.state("stopped"));
        let all = of_command(rt, add(), false);
        del().run().ok();
        net.assert_same(&before, "after the first");
        for point in sample(all, 30) {
            killed(add(), &point);
            del().run().ok();
            net.assert_same(&before, &format!("{point:?}"));
        }
        // DEL is killed, and repeated.
        add().run().ok();
        let all = of_command(rt, del(), false);
        for point in sample(all, 12) {
            add().run().ok();
            killed(del(), &point);
            del().run().ok();
            net.assert_same(&before, &format!("DEL: {point:?}"));
        }
    });
}

/// A plugin that outlives the hook for a moment is for the next one to deal with.
fn killed(command: Command, point: &Point) {
    interrupted(command, point, KILL, false).run();
}

/// A container that crashed with its host's keg, and comes back under the same name.
#[test]
fn a_new_container_of_the_same_name_removes_what_the_former_left() {
    with_runtime(|rt| {
        let net = Net::new(rt);
        let config = net.usual("usual");
        let before = net.used(&config);
        let words = [vec!["add".to_owned()], net.words(&config)].concat();
        let former = Process::start(&net, "c");
        net.hook(&words, &former.state("created")).run().ok();
        // While the former lives, its name is its own.
        let latter = Process::start(&net, "c");
        net.hook(&words, &latter.state("created"))
            .run()
            .fails_with("another container of this id is attached");
        drop(former);
        net.hook(&words, &latter.state("created")).run().ok();
        let look = net.look();
        assert_eq!((look.leases.len(), look.containers.len(), look.mounts.len()), (1, 1, 1), "{look:#?}");
        assert!(Path::new("/run/keg-hook-cni/containers/c/eth0.json").exists());
        net.hook(&["del".to_owned()], &latter.state("stopped")).run().ok();
        net.assert_same(&before, "after DEL");
    });
}
