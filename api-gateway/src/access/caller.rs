use std::{collections::HashSet, fmt, sync::Arc};

use protocol::{Owner, ProcessId};

/// Who asks, and what they may; cheap to clone. It holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    rights: Arc<Rights>,
}

/// Who asks. Its text is for audit and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// Who has the one static token.
    Operator,
    /// Who has the named token of this name.
    Named(Arc<str>),
    /// Who signed in with the issuer of OpenID Connect.
    Subject {
        /// The issuer.
        issuer: Arc<str>,
        /// What it calls them.
        subject: Arc<str>,
        /// Whose their jobs are, which they may share with others.
        owner: Owner,
    },
}

/// What a caller may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Which processes that need a token it may execute; `None`: all.
    pub processes: Option<HashSet<String>>,
    /// Whether it sees the jobs of others, too.
    pub sees_all_jobs: bool,
    /// Whether it may dismiss and remove the jobs that it sees.
    pub may_dismiss: bool,
}

impl Caller {
    /// Who has presented nothing that counts.
    pub fn anonymous() -> Self {
        let none = Rights { processes: Some(HashSet::new()), ..Rights::default() };
        Self { identity: Identity::Anonymous, rights: Arc::new(none) }
    }

    /// Who has the one static token, which may everything.
    pub fn operator() -> Self {
        let all = Rights { processes: None, sees_all_jobs: true, may_dismiss: true };
        Self { identity: Identity::Operator, rights: Arc::new(all) }
    }

    /// Who has a named token.
    pub fn named(name: Arc<str>, rights: Arc<Rights>) -> Self {
        Self { identity: Identity::Named(name), rights }
    }

    /// Who signed in with the issuer of OpenID Connect.
    pub fn subject(issuer: Arc<str>, subject: Arc<str>, owner: Owner, rights: Arc<Rights>) -> Self {
        Self { identity: Identity::Subject { issuer, subject, owner }, rights }
    }

    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// True of one of whom nothing is known.
    pub fn is_anonymous(&self) -> bool {
        self.identity == Identity::Anonymous
    }

    /// Whether it may execute a process that needs a token.
    pub fn may_execute(&self, process: &ProcessId) -> bool {
        self.rights.processes.as_ref().is_none_or(|processes| processes.contains(process.as_str()))
    }

    /// Whether it sees every job.
    pub fn sees_all_jobs(&self) -> bool {
        self.rights.sees_all_jobs
    }

    /// Whether it may dismiss and remove the jobs that it sees.
    pub fn may_dismiss(&self) -> bool {
        self.rights.may_dismiss
    }

    /// What is written into the records of its jobs, which are public; `None` for jobs that are nobody's own.
    pub fn owner(&self) -> Option<Owner> {
        match &self.identity {
            Identity::Anonymous | Identity::Operator => None,
            Identity::Named(name) => Some(Owner::token(name)),
            Identity::Subject { owner, .. } => Some(owner.clone()),
        }
    }

    /// Tells callers apart whose idempotency keys are not to meet.
    pub fn key(&self) -> String {
        match &self.identity {
            Identity::Anonymous => "anonymous".to_owned(),
            // There is one static token, so that its digest would say no more than this word, and it stays out of the stream.
            Identity::Operator => "token".to_owned(),
            Identity::Named(name) => format!("token:{name}"),
            Identity::Subject { issuer, subject, .. } => format!("oidc:{issuer}#{subject}"),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => out.write_str("anonymous"),
            Self::Operator => out.write_str("token"),
            Self::Named(name) => write!(out, "token:{name}"),
            Self::Subject { issuer, subject, .. } => write!(out, "oidc:{issuer}#{subject}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_what_they_say() {
        let lakes: ProcessId = "lakes".parse().unwrap();
        assert!(!Caller::anonymous().may_execute(&lakes) && !Caller::anonymous().may_dismiss());
        assert!(Caller::operator().may_execute(&lakes) && Caller::operator().sees_all_jobs());
        let rights = Rights { processes: Some(HashSet::from(["lakes".to_owned()])), ..Rights::default() };
        let named = Caller::named("group".into(), Arc::new(rights));
        assert!(named.may_execute(&lakes) && !named.may_execute(&"rivers".parse().unwrap()));
        assert!(!named.sees_all_jobs() && !named.may_dismiss());
        assert_eq!(named.owner(), Some(Owner::token("group")));
    }

    #[test]
    fn callers_are_told_apart() {
        let named = |name: &str| Caller::named(name.into(), Arc::default());
        let keys = [Caller::anonymous(), Caller::operator(), named("a"), named("b")].map(|caller| caller.key());
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "{keys:?}");
    }
}
