//! Both ends of a conversation, in one process.

use std::io::Write;

use super::{Error, FromInit, ToInit, pair};

#[test]
fn messages_arrive_as_sent_and_death_is_noticed() {
    let (keg, init) = pair().unwrap();
    init.send(&FromInit::MapIds).unwrap();
    init.send(&FromInit::Failed("é".repeat(3000))).unwrap();
    keg.send(ToInit::Start).unwrap();
    assert!(matches!(keg.receive().unwrap(), FromInit::MapIds));
    let FromInit::Failed(text) = keg.receive().unwrap() else { panic!("not a failure") };
    assert!(text.len() >= 4000 && text.chars().all(|c| c == 'é'));
    assert_eq!(init.receive().unwrap(), ToInit::Start);
    let (master, _slave) = std::os::unix::net::UnixStream::pair().unwrap();
    init.send(&FromInit::Spawned(7, master.into())).unwrap();
    assert!(matches!(keg.receive().unwrap(), FromInit::Spawned(7, _)));
    keg.expect_spawned();
    let (master, _slave) = std::os::unix::net::UnixStream::pair().unwrap();
    init.send(&FromInit::Limit).unwrap();
    init.send(&FromInit::MapIds).unwrap();
    init.send(&FromInit::Spawned(8, master.into())).unwrap();
    assert!(matches!(keg.receive().unwrap(), FromInit::Spawned(8, _)));
    assert!(matches!(keg.receive().unwrap(), FromInit::Limit));
    // It is there already, though the socket has nothing.
    let (other, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.write_all(b"x").unwrap();
    assert!(matches!(keg.receive_unless(&other).unwrap(), Some(FromInit::MapIds)));
    assert!(keg.receive_unless(&other).unwrap().is_none());
    init.send(&FromInit::Ready).unwrap();
    assert!(matches!(keg.receive_unless(&other).unwrap(), Some(FromInit::Ready)));
    // Not read any more, which the kernel says first.
    keg.send(ToInit::Start).unwrap();
    init.send(&FromInit::Failed("last words".to_owned())).unwrap();
    drop(init);
    assert!(matches!(keg.receive(), Ok(FromInit::Failed(text)) if text == "last words"));
    assert!(matches!(keg.receive(), Err(Error::Closed)));
    assert!(matches!(keg.send(ToInit::Wait), Err(Error::Closed)));
}

#[test]
fn whoever_tells_somebody_who_has_gone_hears_the_last_words_all_the_same() {
    let (keg, init) = pair().unwrap();
    keg.send(ToInit::Start).unwrap();
    init.send(&FromInit::Failed("last words".to_owned())).unwrap();
    drop(init);
    // Unread is what was told before: the kernel says so first, and then that nobody is there.
    assert!(matches!(keg.send(ToInit::Wait), Err(Error::Closed)));
    assert!(matches!(keg.send(ToInit::Wait), Err(Error::Closed)));
    assert!(matches!(keg.receive(), Ok(FromInit::Failed(text)) if text == "last words"));
    assert!(matches!(keg.receive(), Err(Error::Closed)));
}
