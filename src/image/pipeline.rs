//! All layers, by two threads: one reads and inflates ([`layer::Inflate`]), and the caller's writes; what there is to hash ([`hash`]) is done
//! by whichever would have to wait, or by a third. A layer counts as applied when it is written and its digests are right; of several errors
//! the one that comes first in the image is told, whoever was faster.

use std::num::NonZero;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, ScopedJoinHandle};

use super::blob;
use super::hash::{Found, Hashing};
use super::layer::{self, Inflate, Message, Stream, Tree, Used};
use super::limits::Limits;
use super::progress::Progress;
use super::{Chosen, Error, Layer};
use crate::sys::timing;

/// How much there was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Uncompressed bytes.
    pub bytes: u64,
    /// Tar entries.
    pub entries: u64,
}

/// Applies the layers. On success every blob and every `diff_id` has been verified.
pub fn apply(
    tree: &mut Tree,
    chosen: &Chosen,
    limits: &Limits,
    progress: &Progress,
) -> Result<Totals, Error> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    apply_on(processors, tree, chosen, limits, progress)
}

fn apply_on(
    processors: usize,
    tree: &mut Tree,
    chosen: &Chosen,
    limits: &Limits,
    progress: &Progress,
) -> Result<Totals, Error> {
    let layers = &chosen.layers;
    let algorithms: Vec<_> =
        layers.iter().map(|layer| (layer.digest.algorithm(), layer.diff_id.algorithm())).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = layers.iter().map(|_| mpsc::channel()).unzip();
    let mut used = Used::default();
    let hashing = Hashing::new(&algorithms);
    let (inflated, found, applied) = thread::scope(|scope| {
        let hasher = (processors > 2).then(|| {
            let (jobs, work) = mpsc::channel();
            scope.spawn(|| hashing.run(&{ work }));
            jobs
        });
        let inflater = Inflate::new(limits, progress, &hashing, hasher);
        let inflater = scope.spawn(|| {
            let done = inflate(chosen, inflater, senders);
            while hashing.help() {}
            done
        });
        let applied = write(tree, receivers, &hashing, limits, &mut used, progress);
        (join(inflater), hashing.finish(), applied)
    });
    let mut totals = Totals { bytes: 0, entries: used.entries };
    let mut applied = applied.into_iter();
    let mut inflated = inflated.into_iter();
    let mut found = found.into_iter();
    for (at, one) in layers.iter().enumerate() {
        totals.bytes +=
            verdict(one, applied.next(), inflated.next(), found.next()).map_err(|source| Error::Layer {
                number: at + 1,
                count: layers.len(),
                digest: one.digest.clone(),
                source: Box::new(source),
            })?;
    }
    timing::lap("wait for the digests");
    layer::finish(tree).map_err(|error| Error::Attributes(Box::new(error)))?;
    Ok(totals)
}

fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The first error ends it.
fn inflate(
    chosen: &Chosen,
    mut inflater: Inflate<'_>,
    senders: Vec<Sender<Message>>,
) -> Vec<Result<u64, layer::Error>> {
    timing::thread("inflate");
    let mut done = Vec::new();
    for ((number, one), sender) in chosen.layers.iter().enumerate().zip(senders) {
        let section = chosen.layout.find(&one.descriptor).map_err(layer::Error::from);
        done.push(section.and_then(|section| inflater.layer(number, section, &sender)));
        timing::lap_with(|| format!("inflate layer {}", number + 1));
        if done.last().is_some_and(Result::is_err) {
            break;
        }
    }
    done
}

/// The first error ends it.
fn write(
    tree: &mut Tree,
    receivers: Vec<Receiver<Message>>,
    hashing: &Hashing,
    limits: &Limits,
    used: &mut Used,
    progress: &Progress,
) -> Vec<Result<(), layer::Error>> {
    let mut done = Vec::new();
    for (number, receiver) in receivers.into_iter().enumerate() {
        tree.next_layer(number > 0);
        let result = layer::apply(tree, Stream::new(receiver, hashing), limits, used, progress);
        timing::lap_with(|| format!("write layer {}", number + 1));
        match &result {
            Ok(()) => progress.applied(number),
            // No damage of the blob would explain it: there is no need to read it all.
            Err(error) if !error.is_of_content() && !matches!(error, layer::Error::Aborted) => {
                progress.stop()
            }
            Err(_) => {}
        }
        done.push(result);
        if done.last().is_some_and(Result::is_err) {
            break;
        }
    }
    done
}

/// What came of a layer, as its threads tell it.
fn verdict(
    layer: &Layer,
    applied: Option<Result<(), layer::Error>>,
    inflated: Option<Result<u64, layer::Error>>,
    found: Option<Found>,
) -> Result<u64, layer::Error> {
    let (mut bytes, mut no_bytes) = (0, None);
    match inflated {
        Some(Ok(count)) => bytes = count,
        Some(Err(error)) => no_bytes = Some(error),
        None => no_bytes = Some(layer::Error::Aborted),
    }
    let error = match applied {
        Some(Ok(())) => None,
        Some(Err(error)) if !matches!(error, layer::Error::Aborted) => Some(error),
        _ => no_bytes.take(),
    };
    match (error, found) {
        (Some(error), _) if !error.is_of_content() => Err(error),
        (error, None) => Err(no_bytes.or(error).unwrap_or(layer::Error::Aborted)),
        (error, Some(found)) => {
            blob::same(&layer.digest, found.blob)?;
            match error {
                Some(error) => Err(error),
                None if found.plain == layer.diff_id => Ok(bytes),
                None => Err(layer::Error::WrongDiffId { said: layer.diff_id.clone(), found: found.plain }),
            }
        }
    }
}

#[cfg(test)]
#[allow(dead_code)]
#[path = "../../tests/image/layout.rs"]
mod made;

#[cfg(test)]
mod tests {
    use super::{Chosen, Totals, apply_on, made};
    use crate::image::layer::{Owners, Tree};
    use crate::image::layout::Layout;
    use crate::image::limits::Limits;
    use crate::image::reference::Wanted;
    use crate::image::{check, select};
    use crate::sys::fd;

    const LAYERS: u8 = 5;
    const SIZE: usize = 300_000;

    fn content(layer: u8) -> Vec<u8> {
        (0..SIZE).map(|at| layer ^ (at / 251) as u8).collect()
    }

    fn layer(number: u8) -> Vec<u8> {
        let mut header = tar::Header::new_ustar();
        header.set_size(SIZE as u64);
        header.set_mode(0o644);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, number.to_string(), &content(number)[..]).unwrap();
        builder.into_inner().unwrap()
    }

    /// Also those threads that this machine has no processors for.
    #[test]
    fn so_many_processors_and_the_same_tree() {
        let place = tempfile::tempdir().unwrap();
        let layers: Vec<_> = (0..LAYERS).map(layer).collect();
        let limits = Limits::default();
        for processors in [1, 3, 64] {
            for damaged in [false, true] {
                let mut made = made::Layout::of(&layers);
                if damaged {
                    made.edit_config(|config| config["rootfs"]["diff_ids"][3] = made::sha256(b"").into());
                }
                let (layout, root) = (place.path().join("layout"), place.path().join("root"));
                made.write(&layout);
                std::fs::create_dir(&root).unwrap();
                let layout = Layout::open(&layout, limits.document_bytes).unwrap();
                let image = select::select(&layout, &Wanted::Only, None, &limits).unwrap();
                let layers = check(&layout, &image).unwrap();
                let chosen = Chosen { layout, image, layers };
                let owners = Owners::of_this_process();
                let mut tree = Tree::new(fd::open_dir(&root).unwrap(), &limits, owners);
                let done = apply_on(processors, &mut tree, &chosen, &limits, &chosen.progress());
                if damaged {
                    let error = done.unwrap_err().to_string();
                    assert!(error.starts_with("layer 4 of 5"), "{processors}: {error}");
                } else {
                    let bytes = u64::from(LAYERS) * layer(0).len() as u64;
                    assert_eq!(done.unwrap(), Totals { bytes, entries: LAYERS.into() }, "{processors}");
                    for number in 0..LAYERS {
                        let there = std::fs::read(root.join(number.to_string())).unwrap();
                        assert!(there == content(number), "{processors}: file {number}");
                    }
                }
                std::fs::remove_dir_all(root).unwrap();
            }
        }
    }
}
