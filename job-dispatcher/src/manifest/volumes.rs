//! The volumes of a job's pod, and where its main container sees them.

use protocol::process::{Volume, VolumeSource};
use serde_json::{Map, Value, json};

/// Where the main container sees a volume.
pub(super) fn mount(volume: &Volume) -> Value {
    let mut mount = json!({ "name": volume.name, "mountPath": volume.mount_path });
    if volume.read_only {
        mount["readOnly"] = true.into();
    }
    mount
}

/// What is behind a volume.
pub(super) fn volume(volume: &Volume) -> Value {
    let name = &volume.name;
    match &volume.source {
        VolumeSource::PersistentVolumeClaim { name: claim } => {
            json!({ "name": name, "persistentVolumeClaim": { "claimName": claim } })
        }
        VolumeSource::EmptyDir(options) => {
            let mut dir = Map::new();
            if let Some(limit) = &options.size_limit {
                dir.insert("sizeLimit".to_owned(), limit.as_str().into());
            }
            if !options.medium.as_str().is_empty() {
                dir.insert("medium".to_owned(), options.medium.as_str().into());
            }
            json!({ "name": name, "emptyDir": dir })
        }
        VolumeSource::Secret { name: secret, items } => {
            json!({ "name": name, "secret": with_items(json!({ "secretName": secret }), items) })
        }
        VolumeSource::ConfigMap { name: map, items } => {
            json!({ "name": name, "configMap": with_items(json!({ "name": map }), items) })
        }
    }
}

fn with_items(mut source: Value, items: &[Value]) -> Value {
    if !items.is_empty() {
        source["items"] = items.into();
    }
    source
}
