//! The bucket, told against two S3 servers: what is stored comes back, in bounded parts, and failures leave nothing.

use std::time::Duration;

use bytes::Bytes;
use end_to_end::{
    program::wait_until,
    s3_server::{S3Server, Versitygw},
    tools::{Tool, require},
};
use futures::{StreamExt, TryStreamExt, stream};
use platform::{
    object_store::{ByteRange, Cause, ObjectStore, StoreError, StoreSettings},
    secret::Secret,
};

const MIB: usize = 1024 * 1024;

#[tokio::test]
async fn the_story_of_an_object_on_the_server_inside_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = S3Server::start(folder.path().join("s3"), None).await.unwrap();
    story(&server.settings(), false).await;

    let store = server.store().unwrap();
    store.put("kept", Bytes::from_static(b"over a restart"), "text/plain").await.unwrap();
    server.stop().await;
    let error = store.get("kept", 100).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    server.restart().await.unwrap();
    assert_eq!(store.get("kept", 100).await.unwrap().unwrap(), "over a restart");
}

#[tokio::test]
async fn the_story_of_an_object_on_versitygw() {
    let tools = require(&[Tool::Versitygw], &|line| eprintln!("{line}")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Versitygw::start(&tools, &folder.path().join("s3")).await.unwrap();
    story(&server.settings(), true).await;
}

async fn story(settings: &StoreSettings, overrides: bool) {
    let store = ObjectStore::new(settings).unwrap();
    store.check().await.unwrap();
    small_objects(&store).await;
    large_objects(&store).await;
    a_failing_source_leaves_nothing(&store).await;
    pages_of_keys(&store).await;
    presigned(&store, overrides).await;
    presigned_for_another_host(settings).await;
    wrong_settings(settings).await;
}

async fn small_objects(store: &ObjectStore) {
    let stored = store.put("a/small", Bytes::from_static(b"abc"), "text/plain").await.unwrap();
    assert_eq!((stored.size, &stored.sha256[..8]), (3, "ba7816bf"));
    assert_eq!(store.get("a/small", 3).await.unwrap().unwrap(), "abc");
    assert!(matches!(store.get("a/small", 2).await, Err(StoreError::TooLarge { limit: 2, .. })));
    assert_eq!(store.size("a/small").await.unwrap(), Some(3));

    let empty = store.put_stream("a/empty", chunks(0, 1), "text/plain").await.unwrap();
    assert_eq!(empty.size, 0);
    assert_eq!(store.get("a/empty", 1).await.unwrap().unwrap(), "");

    store.delete("a/small").await.unwrap();
    store.delete("a/small").await.unwrap();
    assert_eq!(store.get("a/small", 10).await.unwrap(), None);
    assert_eq!(store.size("a/small").await.unwrap(), None);
    assert!(store.get_stream("a/missing").await.unwrap().is_none());
}

async fn large_objects(store: &ObjectStore) {
    // Once with a rest in the last part, once with whole parts only.
    for size in [12 * MIB + 1, 10 * MIB] {
        let stored = store.put_stream("b/large", chunks(size, 300_001), "application/octet-stream").await.unwrap();
        assert_eq!(stored.size, size as u64);
        let content = store.get_stream("b/large").await.unwrap().unwrap();
        assert_eq!(content.size, size as u64);
        let mut at = 0;
        let mut stream = content.stream;
        while let Some(chunk) = stream.next().await {
            for byte in chunk.unwrap() {
                assert_eq!(byte, pattern(at), "at {at}");
                at += 1;
            }
        }
        assert_eq!(at, size);
    }
    for (offset, length) in [(0, 1), (5 * MIB - 1, 2), (10 * MIB - 3, 3)] {
        let range = ByteRange { offset: offset as u64, length: length as u64 };
        let content = store.get_range("b/large", Some(range)).await.unwrap().unwrap();
        assert_eq!(content.size, range.length, "at {offset}");
        let chunks: Vec<Bytes> = content.stream.try_collect().await.unwrap();
        assert_eq!(chunks.concat(), (offset..offset + length).map(pattern).collect::<Vec<u8>>());
    }
    assert!(store.get_range("b/missing", Some(ByteRange { offset: 0, length: 1 })).await.unwrap().is_none());
}

async fn a_failing_source_leaves_nothing(store: &ObjectStore) {
    for before in [10, 6 * MIB] {
        let source = chunks(before, MIB).chain(stream::iter([Err(std::io::Error::other("the log broke"))]));
        let error = store.put_stream("c/broken", source, "text/plain").await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Source { source, .. } if source.to_string() == "the log broke"),
            "{error:?}"
        );
        assert_eq!(store.size("c/broken").await.unwrap(), None);
    }
    // An upload that is simply dropped is not visible either.
    let mut writer = store.writer("c/dropped", "text/plain");
    writer.write(&vec![0; 6 * MIB]).await.unwrap();
    drop(writer);
    assert_eq!(store.size("c/dropped").await.unwrap(), None);
}

async fn pages_of_keys(store: &ObjectStore) {
    for number in 0..5 {
        store.put(&format!("d/{number}/x"), Bytes::from(vec![0; number]), "text/plain").await.unwrap();
    }
    let first = store.list("d/", None, 3).await.unwrap();
    assert_eq!(first.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["d/0/x", "d/1/x", "d/2/x"]);
    assert_eq!(first[2].size, 2);
    let second = store.list("d/", Some(&first[2].key), 3).await.unwrap();
    assert_eq!(second.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["d/3/x", "d/4/x"]);
    assert!(store.list("nothing/", None, 10).await.unwrap().is_empty());
    for key in ["e/a=2Eb=20c", "e/x+y z&ä"] {
        store.put(key, Bytes::from_static(b"x"), "text/plain").await.unwrap();
    }
    let odd = store.list("e/", None, 3).await.unwrap();
    assert_eq!(odd.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["e/a=2Eb=20c", "e/x+y z&ä"]);
}

/// `overrides`: whether the server obeys what a presigned URL says of the headers of its answer.
async fn presigned(store: &ObjectStore, overrides: bool) {
    store.put("e/ü =41.txt", Bytes::from_static(b"anyone"), "text/plain").await.unwrap();
    let disposition = "attachment; filename=\"a.csv\"";
    let url = store.presign_get("e/ü =41.txt", Duration::from_secs(60), "text/csv", disposition).await.unwrap();
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    if overrides {
        assert_eq!(answer.headers()["content-type"], "text/csv");
        assert_eq!(answer.headers()["content-disposition"], disposition);
    }
    assert_eq!(answer.text().await.unwrap(), "anyone");
    let plain = reqwest::get(url.split('?').next().unwrap()).await.unwrap();
    assert_eq!(plain.status(), 403);
    let short = store.presign_get("e/ü =41.txt", Duration::from_secs(1), "text/csv", disposition).await.unwrap();
    wait_until("a URL ends when its time is over", Duration::from_secs(30), || async {
        let status = reqwest::get(&short).await?.status();
        anyhow::ensure!(status == 403, "{status}");
        Ok(())
    })
    .await
    .unwrap();
}

async fn presigned_for_another_host(settings: &StoreSettings) {
    let public_endpoint = Some("https://files.example.org".to_owned());
    let store = ObjectStore::new(&StoreSettings { public_endpoint, ..settings.clone() }).unwrap();
    store.put("e/public", Bytes::from_static(b"x"), "text/plain").await.unwrap();
    let url = store.presign_get("e/public", Duration::from_secs(60), "text/plain", "inline").await.unwrap();
    assert!(url.starts_with("https://files.example.org/"), "{url}");
}

async fn wrong_settings(settings: &StoreSettings) {
    let secret = StoreSettings { secret: Secret::new("not-the-secret"), ..settings.clone() };
    let wrong = ObjectStore::new(&secret).unwrap();
    assert!(matches!(wrong.check().await, Err(StoreError::Check { .. })));
    let error = wrong.put("f", Bytes::new(), "text/plain").await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    let StoreError::Put { source: cause @ Cause::Refused { .. }, .. } = &error else { panic!("{error:?}") };
    assert!(cause.to_string().to_lowercase().contains("signature"), "{cause}");

    let bucket = StoreSettings { bucket: "no-such-bucket".into(), ..settings.clone() };
    let error = ObjectStore::new(&bucket).unwrap().check().await.unwrap_err();
    assert!(matches!(&error, StoreError::Check { source: Cause::NoBucket, .. }), "{error:?}");

    let endpoint = StoreSettings { endpoint: "http://127.0.0.1:9".into(), ..settings.clone() };
    let error = ObjectStore::new(&endpoint).unwrap().check().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

fn chunks(size: usize, chunk: usize) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    let starts = (0..size).step_by(chunk);
    stream::iter(starts.map(move |start| Ok((start..size.min(start + chunk)).map(pattern).collect())))
}

fn pattern(at: usize) -> u8 {
    (at * 31 + at / 4096) as u8
}
