//! Which addresses a result gives to the container.

use std::net::IpAddr;

use serde_json::Value;

/// The addresses of interfaces inside the container, in the order of the result.
pub fn of(result: &Value) -> Vec<IpAddr> {
    let list = |key: &str| result.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let inside = |entry: &&Value| {
        let index =
            entry.get("interface").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        let interface = index.and_then(|index| list("interfaces").get(index));
        let sandbox = |interface: &Value| {
            interface.get("sandbox").and_then(Value::as_str).is_some_and(|s| !s.is_empty())
        };
        interface.is_none_or(sandbox)
    };
    let new = list("ips").iter().filter(inside).filter_map(|entry| entry.get("address"));
    // Before version 0.3.0.
    let old = ["ip4", "ip6"].into_iter().filter_map(|key| result.get(key)?.get("ip"));
    new.chain(old).filter_map(|text| address(text.as_str()?)).collect()
}

/// `10.0.0.2/24`
fn address(text: &str) -> Option<IpAddr> {
    text.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;

    #[test]
    fn addresses_of_the_host_are_left_out() {
        let result = json!({
            "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/n"}],
            "ips": [{"address": "10.0.0.1/24", "interface": 0}, {"address": "10.0.0.2/24", "interface": 1},
                    {"address": "2001:db8::2/64"}, {"address": "nonsense"}, {}],
        });
        assert_eq!(
            of(&result),
            ["10.0.0.2", "2001:db8::2"].map(|text| text.parse::<std::net::IpAddr>().unwrap())
        );
    }

    #[test]
    fn the_first_results_had_one_address_of_a_kind() {
        let result = json!({"ip4": {"ip": "10.0.0.2/24"}, "ip6": {"ip": "::2/64"}});
        assert_eq!(of(&result).len(), 2);
        assert_eq!(of(&json!({})).len(), 0);
        assert_eq!(of(&json!(null)).len(), 0);
    }
}
