//! Every flag that the help of a command lists, in every form that Go's flag package takes, read by the whole definition of the
//! command and by the smaller one where it has one.

use std::ffi::OsString;

use super::{COMMANDS, Entry, Order};

/// What a command needs besides a flag, the first that does; then the words that flags may stand before and behind.
const SURROUNDINGS: [&[&str]; 4] =
    [&[], &["name"], &["--image=/layout", "name"], &["--process=/file", "name"]];
/// For some kind of flag each, and for none.
const VALUES: [&str; 13] = [
    "7",
    "json",
    "plain",
    "A=B",
    "9s",
    "CAP_KILL",
    "zstd",
    "linux/amd64",
    "2006-01-02T15:04:05Z",
    "trace=/file",
    "L3:0=f",
    "MB:0=50",
    "no\nvalue",
];

/// One of a command, as its help shows it.
struct Flag {
    names: Vec<String>,
    takes_value: bool,
}

fn flags(entry: &Entry) -> Vec<Flag> {
    let Ok(super::Request::Show(help)) = (entry.parse)(entry, &["--help".into()]) else { panic!() };
    let options = help.split_once("\nOptions:\n").map_or("", |(_, options)| options);
    let flag = |line: &str| {
        let shown = line.trim_start().split("  ").next().unwrap_or_default();
        let names = shown.split(", ").map(|name| name.split(' ').next().unwrap_or_default());
        let names = names.map(|name| name.trim_start_matches('-').to_owned()).collect();
        Flag { names, takes_value: shown.contains('<') }
    };
    options.lines().filter(|line| line.trim_start().starts_with('-')).map(flag).collect()
}

/// What the words mean; `None` where they are refused. The smaller definition may leave them to the whole one.
fn read(entry: &Entry, words: &[&str], quick: &mut usize) -> Option<String> {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    let whole = (entry.parse)(entry, &words).map(|request| format!("{request:?}")).map_err(|e| e.to_string());
    if let Some(found) = (entry.quickly)(entry, &words) {
        *quick += 1;
        assert_eq!(whole, Ok(format!("{found:?}")), "{} {words:?}", entry.name);
    }
    whole.ok()
}

/// The ways to type it, as words: one dash or two, the value attached or not.
fn forms(flag: &Flag, value: &str) -> Vec<Vec<String>> {
    let spelled = flag.names.iter().flat_map(|name| [format!("-{name}"), format!("--{name}")]);
    let forms = |name: String| match flag.takes_value {
        true => vec![vec![format!("{name}={value}")], vec![name, value.to_owned()]],
        false => vec![vec![format!("{name}=true")], vec![format!("{name}=T")], vec![name]],
    };
    spelled.flat_map(forms).collect()
}

fn around<'a>(entry: &Entry, flag: &[&'a str], surroundings: &[&'a str]) -> Vec<Vec<&'a str>> {
    let before = [flag, surroundings].concat();
    let between =
        [&surroundings[..surroundings.len().min(1)], flag, surroundings.get(1..).unwrap_or_default()];
    match entry.order {
        Order::Mixed => vec![before, between.concat(), [surroundings, flag].concat()],
        Order::First => vec![before],
    }
}

/// Whether the flag is taken with one of the values, and changes something.
fn check_forms(entry: &Entry, flag: &Flag, surroundings: &[&str], quick: &mut usize) -> bool {
    // Of two the last counts, wherever it stands.
    let is_it = |word: &str| word.starts_with(&format!("--{}=", flag.names[flag.names.len() - 1]));
    let surroundings: &[&str] = &surroundings.iter().copied().filter(|word| !is_it(word)).collect::<Vec<_>>();
    let without = read(entry, surroundings, quick);
    let mut taken = false;
    // One that it takes and one that it does not, where there are such.
    let takes = |value: &str| {
        let flag = format!("--{}={value}", flag.names[0]);
        read(entry, &[&[&flag[..]], surroundings].concat(), &mut 0).is_some()
    };
    let values = [VALUES.iter().find(|value| takes(value)), VALUES.iter().find(|value| !takes(value))];
    let values = if flag.takes_value { values } else { [Some(&""), None] };
    for value in values.into_iter().flatten() {
        let mut meanings = Vec::new();
        for form in forms(flag, value) {
            let form: Vec<&str> = form.iter().map(String::as_str).collect();
            for words in around(entry, &form, surroundings) {
                meanings.push(read(entry, &words, quick));
            }
            // Behind the name it may belong to a program instead.
            read(entry, &[surroundings, &form[..]].concat(), quick);
        }
        let same = meanings.iter().all(|meaning| *meaning == meanings[0]);
        assert!(same, "{} {:?} {value}: {meanings:#?}", entry.name, flag.names);
        taken |= meanings[0].is_some() && meanings[0] != without;
    }
    for off in ["=false", "=0", "=F"].iter().filter(|_| !flag.takes_value) {
        let off = format!("--{}{off}", flag.names[0]);
        assert_eq!(read(entry, &[&[&off[..]], surroundings].concat(), quick), without);
    }
    taken
}

#[test]
fn all_forms_of_a_flag_mean_the_same_to_both_definitions() {
    let mut quick = 0;
    for entry in &COMMANDS {
        let enough: Vec<_> =
            SURROUNDINGS.iter().filter(|words| read(entry, words, &mut quick).is_some()).collect();
        assert!(!enough.is_empty(), "{}", entry.name);
        for flag in flags(entry) {
            let taken = enough.iter().filter(|words| check_forms(entry, &flag, words, &mut quick)).count();
            assert!(taken > 0, "{} {:?} changes nothing with any of the values", entry.name, flag.names);
        }
    }
    assert!(quick > 300, "{quick}");
}

/// What goes together, and which of them may not.
#[test]
fn two_flags_mean_the_same_to_both_definitions() {
    let mut quick = 0;
    for entry in COMMANDS.iter().filter(|entry| ["create", "run", "exec"].contains(&entry.name)) {
        let typed = |flag: Flag| {
            let form = |value| format!("--{}={value}", flag.names[0]);
            let mut forms = VALUES.iter().chain(&["true"]).map(form);
            forms.find(|form| read(entry, &[form, "name"], &mut 0).is_some())
        };
        let flags: Vec<_> = flags(entry).into_iter().filter_map(typed).collect();
        assert!(flags.len() > 15, "{flags:?}");
        for one in &flags {
            for other in &flags {
                read(entry, &[one, other, "name"], &mut quick);
                read(entry, &[one, other, "name", "--", "true", "--detach"], &mut quick);
            }
        }
    }
    assert!(quick > 100, "{quick}");
}

/// Words that callers use, and words that are wrong.
#[test]
fn whole_lines_mean_the_same_to_both_definitions() {
    let lines = [
        "--bundle /b --pid-file /p name",
        "-b /b --console-socket=/s --preserve-fds 2 name",
        "--process /p --detach --tty --pid-file /p name",
        "name true --env -x",
        "--detach --keep name",
        "name",
        "",
        "--help",
        "--preserve-fds many name",
        "--no-such-flag name",
        "--no-pivot --image /i:tag name -- true",
        "--image /i name -- true",
        "--env A=B --cwd /tmp name true",
        "--timing - name true",
        "name one two -- three",
        "--bundle /b --bundle",
    ];
    let mut quick = 0;
    for entry in &COMMANDS {
        for line in lines {
            read(entry, &line.split_whitespace().collect::<Vec<_>>(), &mut quick);
        }
    }
    assert!(quick >= 10, "{quick}");
}
