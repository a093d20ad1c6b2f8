//! The context in which a request was made: `traceparent` and `tracestate` (W3C Trace Context, level 2).

use std::sync::Arc;

/// Longest `tracestate` that is kept, bytes; the specification asks for 512.
const STATE_BYTES_MAX: usize = 512;
const MEMBERS_MAX: usize = 32;

/// The span that a request comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    /// Never 0.
    pub(crate) trace: u128,
    /// Never 0.
    pub(crate) span: u64,
    pub(crate) is_sampled: bool,
    pub(crate) state: Option<Arc<str>>,
}

impl Parent {
    /// From the values of all headers of these names. A `traceparent` that is missing, doubled or wrong is none, and a
    /// `tracestate` that is wrong, or without the other, is none either: the specification wants both to be ignored.
    pub(crate) fn read<'a>(
        mut traceparents: impl Iterator<Item = &'a str>,
        tracestates: impl Iterator<Item = &'a str>,
    ) -> Option<Parent> {
        let traceparent = traceparents.next()?;
        if traceparents.next().is_some() {
            return None;
        }
        let (trace, span, is_sampled) = traceparent_parts(traceparent)?;
        Some(Parent { trace, span, is_sampled, state: state(tracestates) })
    }
}

/// `version-trace-parent-flags`, all in lower-case hexadecimal digits. A version after ours may have more behind another dash.
fn traceparent_parts(text: &str) -> Option<(u128, u64, bool)> {
    let (ours, more) = text.split_at_checked(55)?;
    let mut fields = ours.split('-');
    let mut field = |digits: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let field = fields.next().filter(|field| field.len() == digits && field.bytes().all(is_hex))?;
        u128::from_str_radix(field, 16).ok()
    };
    let (version, trace, span, flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let has_end = if version == 0 { more.is_empty() } else { more.is_empty() || more.starts_with('-') };
    let is_valid = has_end && version != 0xFF && trace != 0 && span != 0;
    is_valid.then_some((trace, span as u64, flags & 1 == 1))
}

/// All members of all headers in one list. Those that make it too long are left out, long ones and last ones first.
fn state<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Arc<str>> {
    let mut members: Vec<&str> = Vec::new();
    for member in headers.flat_map(|list| list.split(',')).map(|member| member.trim_matches([' ', '\t'])) {
        let is_empty = member.is_empty();
        let key =
            |member: &'a str| member.split_once('=').filter(|(key, value)| is_key(key) && is_value(value));
        if !is_empty {
            let (key, _) = key(member)?;
            let is_doubled = members.iter().any(|other| other.split('=').next() == Some(key));
            if is_doubled || members.len() == MEMBERS_MAX {
                return None;
            }
            members.push(member);
        }
    }
    let bytes = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>();
    if bytes(&members) > STATE_BYTES_MAX + 1 {
        members.retain(|member| member.len() <= 128);
    }
    while bytes(&members) > STATE_BYTES_MAX + 1 {
        members.pop();
    }
    (!members.is_empty()).then(|| members.join(",").into())
}

fn is_key(key: &str) -> bool {
    let is_part = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'*' | b'/' | b'@')
    };
    let starts = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256 && key.bytes().next().is_some_and(starts) && key.bytes().all(is_part)
}

fn is_value(value: &str) -> bool {
    let is_part = |byte: u8| (0x20..=0x7E).contains(&byte) && byte != b'=';
    !value.is_empty() && value.len() <= 256 && value.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    const SPAN: u64 = 0xb7ad_6b71_6920_3331;

    fn read(traceparents: &[&str], tracestates: &[&str]) -> Option<Parent> {
        Parent::read(traceparents.iter().copied(), tracestates.iter().copied())
    }

    #[test]
    fn what_the_specification_calls_valid_is_taken() {
        for (traceparent, is_sampled) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", true),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more.of-it", true),
        ] {
            let parent = Some(Parent { trace: TRACE, span: SPAN, is_sampled, state: None });
            assert_eq!(read(&[traceparent], &[]), parent, "{traceparent}");
        }
    }

    #[test]
    fn what_is_not_is_none() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for traceparent in [
            "",
            "00",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-001",
            "00-ü0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
        ] {
            assert_eq!(read(&[traceparent], &["a=1"]), None, "{traceparent}");
        }
        assert_eq!(read(&[], &["a=1"]), None);
        assert_eq!(read(&[good, good], &[]), None);
    }

    #[test]
    fn a_state_is_one_list_of_valid_members_or_nothing() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let state = |headers: &[&str]| read(&[good], headers).unwrap().state.map(|state| state.to_string());
        assert_eq!(state(&["a=1, b@c=x y ,", "d/e=!~"]).as_deref(), Some("a=1,b@c=x y,d/e=!~"));
        let many = |count: usize| (0..count).map(|k| format!("k{k}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&[&many(32)]), Some(many(32)));
        for bad in ["", ",", "a", "A=1", "a=", "=1", "a=1,a=2", "a=b=c", "a=\u{e9}", "_a=1", &many(33)] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
        let long = format!("long={}", "x".repeat(200));
        let three = [&*long, &long.replace("long", "l2"), &long.replace("long", "l3"), "short=1"].join(",");
        assert_eq!(state(&[&three]).as_deref(), Some("short=1"), "long ones go first");
        let short = (0..9).map(|k| format!("k{k}={}", "x".repeat(97))).collect::<Vec<_>>();
        assert_eq!(state(&[&short.join(",")]), Some(short[..5].join(",")), "then the last ones");
    }
}
