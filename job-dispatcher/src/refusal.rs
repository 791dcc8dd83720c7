//! What the words mean with which Kubernetes refuses to make a Job, or the Job controller to make its pod: pure.

/// What is to be expected of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A quota has no room: there will be some once other jobs are gone, or the quota is raised.
    Quota,
    /// It will not be made as long as it is what it is.
    ForGood,
    /// It is not known to be for good: what is missing can be mended meanwhile.
    Other,
}

/// A quota that has no room, one whose use was not counted yet, and one that others take from at the same moment.
const QUOTA: [&str; 3] = ["exceeded quota", "status unknown for quota", "cannot be fulfilled on resourcequotas"];

/// Webhooks, policies, the plug-in of pod security, and quotas that want something to be stated which is not.
const FOR_GOOD: [&str; 4] = ["denied the request", "denied request", "violates PodSecurity", "failed quota"];

impl Refusal {
    /// By the words of the API server, which has no other way to tell these from a missing permission.
    pub(crate) fn of(words: &str) -> Self {
        if QUOTA.iter().any(|known| words.contains(known)) {
            Self::Quota
        } else if FOR_GOOD.iter().any(|known| words.contains(known)) {
            Self::ForGood
        } else {
            Self::Other
        }
    }
}

/// What the API server begins with when it refuses one of these.
const NAMED: [&str; 2] = ["pods \"", "jobs.batch \""];

/// The longest text of others that a message takes over, in characters.
const LONGEST: usize = 1024;

/// One line of the words, without what changes with each try: the name of the pod that was not made. That of the Job says nothing new.
pub(crate) fn told(words: &str) -> String {
    let words = words.strip_prefix("Error creating: ").unwrap_or(words);
    let without_name = || {
        let (what, why) = words.split_once("\" is forbidden: ")?;
        NAMED.iter().any(|kind| what.starts_with(kind)).then_some(why)
    };
    let why = without_name().unwrap_or(words);
    let line: String = why.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let line = line.trim();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_policies_and_what_can_be_mended_are_told_apart() {
        for (words, expected) in [
            (
                "pods \"p\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0",
                Refusal::Quota,
            ),
            ("pods \"p\" is forbidden: status unknown for quota: q, resources: pods", Refusal::Quota),
            ("Operation cannot be fulfilled on resourcequotas \"q\": the object has been modified", Refusal::Quota),
            ("pods \"p\" is forbidden: failed quota: q: must specify limits.cpu for: c", Refusal::ForGood),
            (
                "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": runAsNonRoot != true",
                Refusal::ForGood,
            ),
            ("admission webhook \"w\" denied the request: no", Refusal::ForGood),
            (
                "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Refusal::ForGood,
            ),
            (
                "pods \"p\" is forbidden: error looking up service account n/s: serviceaccount \"s\" not found",
                Refusal::Other,
            ),
            ("Internal error occurred: failed calling webhook \"w\": connection refused", Refusal::Other),
        ] {
            assert_eq!(Refusal::of(words), expected, "{words}");
        }
    }

    #[test]
    fn what_is_told_is_one_line_of_bounded_length_that_stays_the_same_from_try_to_try() {
        let words = |pod: &str| format!("Error creating: pods \"{pod}\" is forbidden: exceeded quota: q");
        assert_eq!(told(&words("j-abcde")), "exceeded quota: q");
        assert_eq!(told(&words("j-abcde")), told(&words("j-fghij")));
        assert_eq!(told("jobs.batch \"j\" is forbidden: exceeded quota: q"), "exceeded quota: q");
        assert_eq!(
            told("Error creating: admission webhook \"w\" denied the request:\nno\n"),
            "admission webhook \"w\" denied the request: no"
        );
        let long = told(&"é".repeat(5000));
        assert_eq!(long.chars().count(), LONGEST + 1);
    }
}
