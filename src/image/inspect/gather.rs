//! Puts what refers to something else under that. What it says of its subject is believed, and may be wrong: what stands at the end of
//! no other, or in a circle, stays where it can be seen.

use std::collections::{BTreeMap, BTreeSet};

use super::Node;

/// Takes out of the tree what refers to something else, and puts it under the first that it refers to; at the end of `entries` where
/// that is not here.
pub fn gather(entries: &mut Vec<Node>) {
    let mut referrers = Vec::new();
    take(entries, &mut referrers);
    let mut here: BTreeSet<String> = referrers.iter().map(|node| node.digest.clone()).collect();
    entries.iter().for_each(|node| digests(node, &mut here));
    let mut waiting: BTreeMap<String, Vec<Node>> = BTreeMap::new();
    for node in referrers {
        match node.subject.clone().filter(|subject| here.contains(subject)) {
            Some(subject) => waiting.entry(subject).or_default().push(node),
            None => entries.push(node),
        }
    }
    entries.iter_mut().for_each(|node| attach(node, &mut waiting));
    while let Some((_, circle)) = waiting.pop_first() {
        for mut node in circle {
            attach(&mut node, &mut waiting);
            entries.push(node);
        }
    }
}

fn take(nodes: &mut Vec<Node>, referrers: &mut Vec<Node>) {
    for mut node in std::mem::take(nodes) {
        take(&mut node.manifests, referrers);
        if node.subject.is_some() { referrers.push(node) } else { nodes.push(node) }
    }
}

fn digests(node: &Node, here: &mut BTreeSet<String>) {
    here.insert(node.digest.clone());
    node.manifests.iter().for_each(|node| digests(node, here));
}

fn attach(node: &mut Node, waiting: &mut BTreeMap<String, Vec<Node>>) {
    node.referrers = waiting.remove(&node.digest).unwrap_or_default();
    node.manifests.iter_mut().chain(&mut node.referrers).for_each(|node| attach(node, waiting));
}
