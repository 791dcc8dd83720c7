//! Where in a log what was written since a time begins. A follower knows it of each line that it holds; parts know it of their
//! first line, and of lines that are far apart.

use jiff::Timestamp;
use platform::log_parts;
use protocol::ledger::{PartHeader, tail::Question};

use super::{
    asked::Asked,
    known::Known,
    selection,
    source::{Found, ReadError, Source},
};

/// Where in the log of a container what was asked for begins.
pub(super) struct Begin {
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// Place.
    pub place: u64,
}

/// Everything that there is, and where in each log that is wanted what is asked for begins.
pub(super) async fn find(source: &Source, asked: &Asked) -> Result<(Found, Vec<Begin>), ReadError> {
    let found = source.find().await?;
    let Some(time) = asked.since else { return Ok((found, Vec::new())) };
    let mut told = Vec::new();
    for log in selection::wanted(found.logs, asked).unwrap_or_default() {
        let question = Question::Since { pod: log.pod.clone(), container: log.container.clone(), time };
        let place = source.follower.ask(&question).await.and_then(|(answer, _)| answer.from);
        told.push((log.pod, log.container, place));
    }
    // What the follower did not hold any more when it answered is in parts by now.
    let found = source.find().await?;
    let mut begins = Vec::new();
    for log in selection::wanted(found.logs.clone(), asked).unwrap_or_default() {
        let told = told.iter().find(|(pod, container, _)| log.is(pod, container)).and_then(|(_, _, place)| *place);
        let place = match in_parts(source, &log, time).await? {
            Search::Found(place) => place,
            Search::Behind(last_line) => told.unwrap_or(last_line),
        };
        begins.push(Begin { pod: log.pod, container: log.container, place });
    }
    Ok((found, begins))
}

/// What parts tell.
#[derive(Debug, PartialEq, Eq)]
enum Search {
    /// It is there, and begins here or a little later.
    Found(u64),
    /// All lines that begin in parts are older; the last one that is known of begins here.
    Behind(u64),
}

/// Parts that are looked at, at most: with few lines many parts tell nothing.
const LOOKS: u32 = 32;

/// Looks at a few parts only: one is older than the next.
async fn in_parts(source: &Source, log: &Known, since: Timestamp) -> Result<Search, ReadError> {
    let Some(objects) = source.store.objects() else { return Ok(Search::Behind(log.start)) };
    let (mut low, mut high) = (0, log.parts.len());
    let mut search = Search::Behind(log.start);
    // What is sought is not before this place.
    let mut older = log.start;
    let mut looks = 0;
    // Before `low` all parts are older, and what is sought is in the part at `high`, or behind.
    while low < high {
        let middle = low + (high - low) / 2;
        let mut at = middle;
        let told = loop {
            let Some(part) = log.parts.get(at) else { break None };
            looks += 1;
            if looks > LOOKS {
                return Ok(Search::Found(older));
            }
            // It was deleted, as the log is archived: what is before it is all that is known.
            let Some(header) = log_parts::header(objects, &source.record.job_id, part).await? else {
                return Ok(Search::Found(older));
            };
            match in_part(&header, since) {
                None if at > low => at -= 1,
                told => break told,
            }
        };
        match (told, &mut search) {
            (Some(Search::Found(place)), search) => (*search, high) = (Search::Found(place), at),
            (Some(Search::Behind(place)), Search::Behind(last)) => {
                (*last, low) = (place.max(*last), middle + 1);
                older = older.max(place);
            }
            // No line begins from `low` to the middle, or a later part is known to have what is sought.
            (Some(Search::Behind(_)) | None, _) => low = middle + 1,
        }
    }
    Ok(search)
}

/// What the header of a part tells; `None` where no line begins in it.
fn in_part(header: &PartHeader, since: Timestamp) -> Option<Search> {
    let (first, _) = header.index.first()?;
    let older = header.index.iter().rev().find(|(_, time)| *time < since);
    let place = older.map_or(*first, |(place, _)| *place);
    Some(if header.last.is_some_and(|last| last < since) { Search::Behind(place) } else { Search::Found(place) })
}

#[cfg(test)]
mod tests {
    use protocol::{SCHEMA, Unknown, ledger::LogOf};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn header(index: Vec<(u64, Timestamp)>, last: Option<Timestamp>) -> PartHeader {
        PartHeader {
            schema: SCHEMA,
            of: LogOf {
                pod: "p".into(),
                pod_created: None,
                container: "c".into(),
                place: 0,
                init: false,
                main: true,
                unknown: Unknown::new(),
            },
            start: 100,
            size: 900,
            sha256: String::new(),
            first: index.first().map(|(_, time)| *time),
            last,
            index,
            mark: None,
            gaps: Vec::new(),
            previous: None,
            ended: false,
            unknown: Unknown::new(),
        }
    }

    #[test]
    fn a_part_tells_of_its_first_line_exactly_and_of_others_the_last_older_one_that_it_names() {
        let header = header(vec![(103, at(10)), (500, at(20)), (800, at(30))], Some(at(40)));
        for (since, expected) in [
            (0, Search::Found(103)),
            (10, Search::Found(103)),
            (11, Search::Found(103)),
            (21, Search::Found(500)),
            (40, Search::Found(800)),
            (41, Search::Behind(800)),
        ] {
            assert_eq!(in_part(&header, at(since)), Some(expected), "{since}");
        }
    }

    #[test]
    fn a_part_within_a_long_line_tells_nothing() {
        assert_eq!(in_part(&header(Vec::new(), None), at(0)), None);
    }
}
