//! What each operation wants of who asks for it: the one table, pure.

use protocol::configuration::Manager;

/// The rule of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// For everybody: what describes the service.
    Open,
    /// Executing a process.
    Execute,
    /// Dismissing or removing a job.
    Dismiss,
    /// Dismissing by a page's form, whose token may be a field: as [`Self::Dismiss`], which is held against the form where that is
    /// read (`Admission::to_dismiss`). To come that far takes what looking at the job does.
    DismissForm,
    /// The list of jobs.
    List,
    /// Status and results of one job.
    Job,
    /// The log of one job.
    Logs,
}

/// What a rule asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing; a token that is wrong counts as none.
    Nothing,
    /// A token.
    Token,
    /// A token, where the process says `check_auth`.
    AsTheProcessSays,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 7] =
        [Self::Open, Self::Execute, Self::Dismiss, Self::DismissForm, Self::List, Self::Job, Self::Logs];

    /// What it asks for under these settings.
    pub fn need(self, manager: &Manager) -> Need {
        match (self, manager.protect_jobs) {
            (Self::Open, _) => Need::Nothing,
            (Self::Execute, _) => Need::AsTheProcessSays,
            (Self::Dismiss, _) if manager.protect_dismiss => Need::Token,
            (Self::Dismiss, _) => Need::Nothing,
            (Self::List | Self::Logs, None | Some(true)) => Need::Token,
            (Self::List | Self::Logs, Some(false)) => Need::Nothing,
            (Self::Job | Self::DismissForm, Some(true)) => Need::Token,
            // A job's id can't be guessed, and suffices.
            (Self::Job | Self::DismissForm, None | Some(false)) => Need::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_table_of_rules() {
        use Need::{AsTheProcessSays, Nothing, Token};
        let mut manager = testing::configuration().server.manager;
        for (protect_jobs, expected) in [
            (None, [Nothing, AsTheProcessSays, Token, Nothing, Token, Nothing, Token]),
            (Some(true), [Nothing, AsTheProcessSays, Token, Token, Token, Token, Token]),
            (Some(false), [Nothing, AsTheProcessSays, Token, Nothing, Nothing, Nothing, Nothing]),
        ] {
            manager.protect_jobs = protect_jobs;
            assert_eq!(Rule::ALL.map(|rule| rule.need(&manager)), expected, "{protect_jobs:?}");
        }
    }

    #[test]
    fn only_dismissing_changes_for_a_certification_run() {
        let mut manager = testing::configuration().server.manager;
        for protect_jobs in [None, Some(true), Some(false)] {
            manager.protect_jobs = protect_jobs;
            manager.protect_dismiss = true;
            let before = Rule::ALL.map(|rule| rule.need(&manager));
            manager.protect_dismiss = false;
            for (rule, before) in Rule::ALL.into_iter().zip(before) {
                let expected = if rule == Rule::Dismiss { Need::Nothing } else { before };
                assert_eq!(rule.need(&manager), expected, "{rule:?} {protect_jobs:?}");
            }
        }
    }
}
