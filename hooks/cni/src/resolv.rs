//! `/etc/resolv.conf`: the name servers of the networks, else those of the host that a container can reach.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde_json::Value;

/// What the host's programs are told, and what its own resolver asks where that is systemd's.
const OF_THE_HOST: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The text of the file, from the results of all networks.
pub fn text(results: &[&Value]) -> String {
    from_results(results).unwrap_or_else(|| {
        let texts =
            OF_THE_HOST.iter().map(|path| of_host(&fs::read_to_string(Path::new(path)).unwrap_or_default()));
        texts.into_iter().find(|text| has_server(text)).unwrap_or_default()
    })
}

/// `None`: no network names a server.
fn from_results(results: &[&Value]) -> Option<String> {
    let all = |key: &str| {
        let mut words: Vec<&str> = Vec::new();
        for value in results.iter().filter_map(|result| result.get("dns")?.get(key)) {
            let list = value.as_array().into_iter().flatten().chain(value.is_string().then_some(value));
            words.extend(list.filter_map(Value::as_str).filter(|word| is_word(word)));
        }
        words
    };
    let servers: Vec<IpAddr> = all("nameservers").iter().filter_map(|word| word.parse().ok()).collect();
    let mut text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    // The domain is what is searched where nothing else is.
    let search = Some(all("search")).filter(|search| !search.is_empty()).unwrap_or_else(|| all("domain"));
    for (key, words) in [("search", search), ("options", all("options"))] {
        if !words.is_empty() {
            text.push_str(&format!("{key} {}\n", words.join(" ")));
        }
    }
    (!servers.is_empty()).then_some(text)
}

/// Without servers that only the host itself can reach, and without remarks.
fn of_host(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let keep = match (words.next(), words.next()) {
            (Some("nameserver"), Some(server)) => {
                server.parse::<IpAddr>().is_ok_and(|server| !server.is_loopback())
            }
            (Some("search" | "domain" | "options" | "sortlist"), Some(_)) => true,
            _ => false,
        };
        if keep {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn has_server(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("nameserver"))
}

/// Nothing that could be another line or another word.
fn is_word(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && c != '#' && c != ';')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{from_results, of_host};

    #[test]
    fn networks_name_servers() {
        let one = json!({"dns": {"nameservers": ["10.0.0.1", "evil\nsearch x"], "domain": "a.example", "options": ["ndots:2"]}});
        let two = json!({"dns": {"nameservers": ["::1"], "search": ["b.example", "c d"]}});
        assert_eq!(
            from_results(&[&one]).unwrap(),
            "nameserver 10.0.0.1\nsearch a.example\noptions ndots:2\n"
        );
        assert_eq!(
            from_results(&[&one, &two]).unwrap(),
            "nameserver 10.0.0.1\nnameserver ::1\nsearch b.example\noptions ndots:2\n"
        );
        assert_eq!(from_results(&[&json!({"dns": {}}), &json!({})]), None);
    }

    #[test]
    fn servers_that_only_the_host_reaches_are_left_out() {
        let text = "# remark\nnameserver 127.0.0.53\n nameserver 192.0.2.1 \nnameserver ::1\nsearch a b\noptions edns0\nfoo bar\n";
        assert_eq!(of_host(text), "nameserver 192.0.2.1\nsearch a b\noptions edns0\n");
    }
}
