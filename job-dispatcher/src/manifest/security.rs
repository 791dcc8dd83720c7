//! What each level of pod security sets on the pod and on each of its containers.
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>

use protocol::process::{PodSecurity, SecurityLevel};
use serde_json::{Value, json};

/// The `securityContext` of the pod.
pub(super) fn of_pod(security: &PodSecurity) -> Value {
    let mut context = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    if security.level == SecurityLevel::Restricted {
        context["runAsNonRoot"] = true.into();
    }
    let ids =
        [("runAsUser", security.run_as_user), ("runAsGroup", security.run_as_group), ("fsGroup", security.fs_group)];
    for (name, id) in ids {
        if let Some(id) = id {
            context[name] = id.into();
        }
    }
    context
}

/// The `securityContext` of each container.
pub(super) fn of_container(security: &PodSecurity) -> Value {
    let mut context = json!({ "allowPrivilegeEscalation": false });
    match security.level {
        SecurityLevel::Compatible => {}
        SecurityLevel::Baseline => {
            context["privileged"] = false.into();
            // Of what container runtimes give, the one that the standard does not let containers add.
            context["capabilities"] = json!({ "drop": ["NET_RAW"] });
        }
        SecurityLevel::Restricted => {
            context["privileged"] = false.into();
            context["capabilities"] = json!({ "drop": ["ALL"] });
        }
    }
    context
}
