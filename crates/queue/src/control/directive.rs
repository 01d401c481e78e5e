//! The grammar of directives: the words that an operator types.

use std::fmt;

use super::host_change::HostChange;
use super::refusal::{Refusal, Verb};
use crate::dead::{Filter, HostFilter, Search};
use crate::host::parse_pattern;
use crate::message::bare;
use crate::{MAX_NAME_BYTES, NO_RUN, is_name};

/// The longest message that is parsed, in bytes.
const MAX_DIRECTIVE_BYTES: usize = 1000;
/// The highest concurrency.
const MAX_CONCURRENCY: u16 = u16::MAX;

/// An instruction to the workers.
///
/// [`Self::is_state`] distinguishes those that stay in force, also for workers that start later,
/// from those that are carried out once.
#[derive(Clone, Debug, PartialEq)]
pub enum Directive {
    /// Take no tasks, and requeue what has not begun.
    Pause(Scope),
    /// Take tasks again.
    Resume(Scope),
    /// Fetch this many tasks at once in each worker; `None` for the number of its own flag.
    Concurrency(Option<usize>),
    /// Change the limits of a host or a pattern of hosts.
    Host {
        /// A host, `*.` and a suffix of names, or `*`.
        pattern: String,
        /// What to change.
        change: HostChange,
    },
    /// Cancel a run.
    Cancel(String),
    /// Stop one worker: it finishes what it has begun and ends.
    Drain(String),
    /// Send dead letters back to the workers as first attempts.
    Replay(Search),
}

/// The workers that a directive is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All workers, also those that start later.
    All,
    /// The worker of this name.
    Pod(String),
}

impl Scope {
    /// Whether the directive is for this worker.
    pub fn includes(&self, pod: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pod(name) => name == pod,
        }
    }

    /// The worker that the directive is for, if it is for one.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Pod(name) => Some(name),
        }
    }
}

impl Directive {
    /// Parses a message. The case of the first word, white space, quotes and invisible characters
    /// do not matter.
    pub fn read(data: &[u8]) -> Result<Self, Refusal> {
        if data.len() > MAX_DIRECTIVE_BYTES {
            return Err(Refusal::TooLong(data.len()));
        }
        let text = std::str::from_utf8(data).map_err(|_| Refusal::NotText)?;
        let text = bare(text);
        if text.is_empty() {
            return Err(Refusal::Empty);
        }
        if text.starts_with(['{', '[']) {
            return Err(Refusal::Json);
        }
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > 1 {
            return Err(Refusal::SeveralLines(lines));
        }
        let end = text.find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len());
        let (verb, rest) = text.split_at(end);
        // `concurrency=50` and `concurrency: 50` can mean nothing else.
        let separates = |c: char| c.is_whitespace() || matches!(c, '=' | ':');
        let verb = match rest.is_empty() || rest.starts_with(separates) {
            true => Verb::of(verb)?,
            false => return Err(Refusal::unknown(verb)),
        };
        let rest = rest.trim_start();
        // Two colons begin an address: `host ::1 pause`.
        let rest = match rest.strip_prefix(['=', ':']) {
            Some(behind) if !rest.starts_with("::") => behind,
            _ => rest,
        };
        Self::of(verb, &words(rest))
    }

    fn of(verb: Verb, words: &[String]) -> Result<Self, Refusal> {
        let wrong = |problem: &str| Refusal::Usage(verb, problem.to_owned());
        match verb {
            Verb::Pause => Ok(Self::Pause(scope(verb, words)?)),
            Verb::Resume => Ok(Self::Resume(scope(verb, words)?)),
            Verb::Drain => match scope(verb, words)? {
                Scope::Pod(pod) => Ok(Self::Drain(pod)),
                Scope::All => Err(wrong("it names no worker")),
            },
            Verb::Concurrency => match words {
                [word] if word.eq_ignore_ascii_case("default") => Ok(Self::Concurrency(None)),
                [word] => match word.parse::<u16>() {
                    Ok(number) if number > 0 => Ok(Self::Concurrency(Some(number.into()))),
                    _ => Err(wrong(&format!("the number is not 1 to {MAX_CONCURRENCY}"))),
                },
                _ => Err(wrong("it does not name one number")),
            },
            Verb::Host => {
                let [pattern, change @ ..] = words else { return Err(wrong("it names no host")) };
                let pattern = parse_pattern(pattern).map_err(|error| wrong(&error))?;
                let change = HostChange::read(&change.concat()).map_err(|error| wrong(&error))?;
                Ok(Self::Host { pattern, change })
            }
            Verb::Cancel => run_name(&words.join(" ")).map(Self::Cancel).map_err(|why| wrong(&why)),
            Verb::Replay => search(words).map(Self::Replay).map_err(|error| wrong(&error)),
        }
    }

    /// Whether the newest directive of its kind stays in force. Others are carried out once.
    pub fn is_state(&self) -> bool {
        matches!(self, Self::Pause(_) | Self::Resume(_) | Self::Concurrency(_))
    }

    /// The one worker that the directive is for, if there is one.
    pub fn pod(&self) -> Option<&str> {
        match self {
            Self::Pause(scope) | Self::Resume(scope) => scope.pod(),
            Self::Drain(pod) => Some(pod),
            _ => None,
        }
    }
}

/// Splits at white space, but not inside quotes.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        // An apostrophe is a part of a name, but not where a value begins.
        let begins = word.is_empty() || word.ends_with(['=', ':']);
        match quote {
            Some(end) if c == end => quote = None,
            None if matches!(c, '"' | '`') => quote = Some(c),
            None if matches!(c, '\u{201c}') => quote = Some('\u{201d}'),
            None if begins && c == '\u{201e}' => quote = Some('\u{201c}'),
            None if begins && c == '\'' && ends_word(rest, '\'') => quote = Some('\''),
            None if begins && c == '\u{2018}' && ends_word(rest, '\u{2019}') => {
                quote = Some('\u{2019}');
            }
            None if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether the next quote of this kind ends a word.
fn ends_word(text: &str, quote: char) -> bool {
    text.split_once(quote)
        .is_some_and(|(_, behind)| behind.is_empty() || behind.starts_with(char::is_whitespace))
}

/// All workers, or the one that is named.
fn scope(verb: Verb, words: &[String]) -> Result<Scope, Refusal> {
    match words {
        [] => Ok(Scope::All),
        [all] if all.eq_ignore_ascii_case("all") => Ok(Scope::All),
        [pod] => Ok(Scope::Pod(pod.clone())),
        _ => Err(Refusal::Usage(verb, "it names more than one worker".to_owned())),
    }
}

fn run_name(name: &str) -> Result<String, String> {
    if name == NO_RUN {
        return Err(format!(
            "`{NO_RUN}` is the run of all messages that name none, later ones too"
        ));
    }
    run_filter(name)
}

/// Which dead letters to replay. All of them only if that is said.
fn search(words: &[String]) -> Result<Search, String> {
    const FILTERS: &str = "host=…, status=…, reason=…, run=… and limit=…";
    let mut search = Search::default();
    match words {
        [] => return Err(format!("it names no filter; filters are {FILTERS}")),
        [all] if all.eq_ignore_ascii_case("all") => return Ok(search),
        _ => {}
    }
    let mut given = Vec::new();
    for word in words {
        let (name, value) = word.split_once(['=', ':']).ok_or_else(|| {
            let quotes = match given.is_empty() {
                true => "",
                false => "; put a name with spaces in quotes, as in run=\"Night 7\"",
            };
            format!("`{word}` is not a filter; filters are {FILTERS}{quotes}")
        })?;
        let name = name.to_ascii_lowercase();
        let Filter { run, host, reason, status, .. } = &mut search.filter;
        match name.as_str() {
            _ if value.is_empty() => return Err(format!("the filter `{name}` has no value")),
            _ if given.contains(&name) => {
                return Err(format!("it names the filter `{name}` twice"));
            }
            "run" => *run = Some(run_filter(value)?),
            "host" => *host = Some(HostFilter::parse(value)?),
            "reason" => *reason = Some(Filter::parse_reason(value)?),
            "status" => *status = Some(Filter::parse_status(value)?),
            "limit" => match value.parse().map_err(|_| format!("`{value}` is not a number"))? {
                0 => return Err("a limit of 0 replays nothing".to_owned()),
                limit => search.limit = Some(limit),
            },
            _ => return Err(format!("`{name}` is not a filter; filters are {FILTERS}")),
        }
        given.push(name);
    }
    Ok(search)
}

fn run_filter(name: &str) -> Result<String, String> {
    match is_name(name) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "the name of a run has 1 to {MAX_NAME_BYTES} bytes and no control characters"
        )),
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scoped = |f: &mut fmt::Formatter<'_>, verb, scope: &Scope| match scope {
            Scope::All => f.write_str(verb),
            Scope::Pod(pod) => write!(f, "{verb} {}", quoted(pod)),
        };
        match self {
            Self::Pause(scope) => scoped(f, "pause", scope),
            Self::Resume(scope) => scoped(f, "resume", scope),
            Self::Concurrency(Some(number)) => write!(f, "concurrency {number}"),
            Self::Concurrency(None) => f.write_str("concurrency default"),
            Self::Host { pattern, change } => write!(f, "host {pattern} {change}"),
            Self::Cancel(run) => write!(f, "cancel {}", quoted(run)),
            Self::Drain(pod) => write!(f, "drain {}", quoted(pod)),
            Self::Replay(search) => write_search(f, search),
        }
    }
}

fn write_search(f: &mut fmt::Formatter<'_>, search: &Search) -> fmt::Result {
    let Filter { run, host, reason, status, .. } = &search.filter;
    let filters = [
        host.as_ref().map(|host| format!(" host={host}")),
        status.map(|status| format!(" status={status}")),
        reason.as_ref().map(|reason| format!(" reason={}", quoted(reason))),
        run.as_ref().map(|run| format!(" run={}", quoted(run))),
        search.limit.map(|limit| format!(" limit={limit}")),
    ];
    let filters: String = filters.into_iter().flatten().collect();
    write!(f, "replay{}", if filters.is_empty() { " all" } else { &filters })
}

/// A name, in quotes where it would not be read as one word. A name with a quote of one kind is put
/// into those of the other kind.
fn quoted(name: &str) -> String {
    let is_split = name.contains(char::is_whitespace)
        || name.contains(['"', '`', '\u{201c}'])
        || name.starts_with(['\'', '\u{2018}', '\u{201e}']);
    match is_split {
        true if name.contains('"') => format!("`{name}`"),
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Directive, String> {
        Directive::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_directive_is_parsed_as_an_operator_types_it() {
        for (canonical, typed) in [
            ("pause", &["pause", " Pause\n", "\"pause\"", "PAUSE", "`pause`", "pa\u{200b}use"][..]),
            ("pause", &["\u{feff}pause\r\n", "pause all", "\u{201c}pause\u{201d}", "<pause>"]),
            ("pause blue-1", &["pause blue-1", "Pause   blue-1 ", "pause: blue-1", "pause=blue-1"]),
            ("resume", &["resume", "RESUME\t"]),
            ("resume Blue-1", &["resume Blue-1"]),
            ("concurrency 50", &["concurrency 50", "concurrency=50", "Concurrency: 50\n"]),
            ("concurrency 7", &["CONCURRENCY\t7 ", "'concurrency 7'", "concurrency\u{a0}7"]),
            ("concurrency default", &["concurrency default", "concurrency DEFAULT"]),
            ("host shop.example 5/s", &["host Shop.Example 5/s", "host shop.example. 5 /s"]),
            ("host shop.example 5/s", &["host https://shop.example/p 5/s"]),
            ("host *.shop.example 0.2/s", &["host *.shop.example 0.2/s"]),
            ("host * pause", &["host * pause", "HOST * PAUSE"]),
            ("host [::1] pause", &["host ::1 pause", "host: ::1 pause", "host [::1] pause"]),
            ("host shop.example:8443 resume", &["host shop.example:8443 resume"]),
            ("host shop.example clear", &["host shop.example clear", "host shop.example Clear"]),
            ("cancel nightly", &["cancel nightly", "cancel \"nightly\"", "Cancel nightly\n"]),
            ("cancel \"Night 7\"", &["cancel Night 7", "cancel \"Night 7\"", "cancel `Night 7`"]),
            ("drain blue-1", &["drain blue-1", "drain `blue-1`"]),
            ("replay all", &["replay all", "replay ALL"]),
            (
                "replay host=shop.example status=503 reason=http_error run=nightly limit=7",
                &["replay run=nightly host=Shop.Example status=503 reason=HTTP_ERROR limit=7"],
            ),
            ("replay run=\"Night 7\"", &["replay run=\"Night 7\"", "replay \"run=Night 7\""]),
            (
                "replay run=\"Night 7\"",
                &["replay run='Night 7'", "replay run=\u{2018}Night 7\u{2019}"],
            ),
            ("replay run=o'neil", &["replay run=o'neil", "replay run=\"o'neil\""]),
            ("replay host=*.example limit=1", &["replay host=*.Example limit=1"]),
            ("replay host=* reason=delivery_limit", &["replay host=* reason=delivery_limit"]),
        ] {
            for typed in typed {
                let directive = read(typed).unwrap_or_else(|error| panic!("{typed:?}: {error}"));
                assert_eq!(directive.to_string(), canonical, "{typed:?}");
                assert_eq!(read(&directive.to_string()), Ok(directive), "{typed:?}");
            }
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_what_to_type() {
        let long = "x".repeat(MAX_DIRECTIVE_BYTES + 1);
        for (typed, expected) in [
            ("", &["empty", "`pause [WORKER]`"][..]),
            (" \n", &["empty"]),
            ("\"\"", &["empty"]),
            ("puase", &["did you mean `pause`?", "`cancel RUN`"]),
            ("Resmue blue-1", &["did you mean `resume`?"]),
            ("concurency 5", &["did you mean `concurrency`?"]),
            ("pause,resume", &["did you mean `pause`?"]),
            ("unpause", &["did you mean `resume`?"]),
            ("stop", &["not one that workers know", "`drain WORKER`"]),
            ("50", &["not one that workers know"]),
            ("\u{0}", &["not one that workers know"]),
            (r#"{"pause":true}"#, &["JSON", "`pause [WORKER]`"]),
            (r#"["pause"]"#, &["JSON"]),
            ("pause\nconcurrency 5", &["2 lines", "a message of its own"]),
            ("pause blue-1 blue-2", &["more than one worker", "`pause [WORKER]`"]),
            ("concurrency", &["one number", "`concurrency N|default`"]),
            ("concurrency 0", &["1 to 65535"]),
            ("concurrency -1", &["1 to 65535"]),
            ("concurrency 70000", &["1 to 65535"]),
            ("concurrency many", &["1 to 65535"]),
            ("concurrency 5 6", &["one number"]),
            ("host", &["names no host", "`host NAME N/s|pause|resume|clear`"]),
            ("host shop.example", &["`host NAME N/s|pause|resume|clear`"]),
            ("host shop.example fast", &["`host NAME"]),
            ("host shop.example 5", &["5/s"]),
            ("host shop.* 5/s", &["*.shop.example"]),
            ("host shop.example, pause", &["cannot contain `,`", "`host NAME"]),
            ("host shop..example pause", &["is empty"]),
            ("host 10.0.0.0/8 5/s", &["not for a network"]),
            ("cancel", &["1 to 100 bytes", "`cancel RUN`"]),
            ("cancel adhoc", &["`adhoc` is the run of all messages"]),
            ("drain", &["names no worker", "`drain WORKER`"]),
            ("drain all", &["names no worker"]),
            ("replay", &["no filter", "host=…"]),
            ("replay hots=shop.example", &["`hots` is not a filter"]),
            ("replay shop.example", &["`shop.example` is not a filter"]),
            ("replay status=teapot", &["`teapot` is not a status", "100 to 599"]),
            ("replay host=", &["`host` has no value"]),
            ("replay host==a", &["cannot contain `=`"]),
            ("replay host=a.example host=b.example", &["`host` twice"]),
            ("replay status=99", &["100 to 599"]),
            ("replay status=700", &["100 to 599"]),
            ("replay limit=0", &["replays nothing"]),
            ("replay reason=htp_error", &["did you mean `http_error`?", "not_a_task"]),
            ("replay run=Day 2", &["`2` is not a filter", "run=\"Night 7\""]),
            (&long, &["1001 bytes"]),
        ] {
            let error = read(typed).unwrap_err();
            for part in expected {
                assert!(error.contains(part), "{typed:?}: {error}");
            }
        }
        assert!(Directive::read(b"\xff\xfe").unwrap_err().to_string().contains("not text"));
    }

    #[test]
    fn a_directive_for_one_worker_names_it() {
        let pod = |text| read(text).unwrap().pod().map(str::to_owned);
        assert_eq!(pod("pause blue-1").as_deref(), Some("blue-1"));
        assert_eq!(pod("drain blue-1").as_deref(), Some("blue-1"));
        assert_eq!((pod("pause"), pod("cancel blue-1")), (None, None));
        assert!(Scope::All.includes("blue-1"));
        let scope = Scope::Pod("blue-1".to_owned());
        assert!(scope.includes("blue-1") && !scope.includes("blue-10"));
    }
}
