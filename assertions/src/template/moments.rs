//! What a template may ask of a time: `{{ with $value | toTime }}{{ .Format "2006-01-02" }}{{ end }}`.

use super::functions::Kind;
use super::value::{Moment, Value};

/// A method of a time.
pub(super) struct Method {
    name: &'static str,
    pub(super) parameters: &'static [Kind],
    pub(super) body: fn(Moment, &[Value]) -> Value,
}

const fn plain(name: &'static str, body: fn(Moment, &[Value]) -> Value) -> Method {
    Method { name, parameters: &[], body }
}

static METHODS: &[Method] = &[
    plain("Day", |at, _| Value::Int(at.parts().day().into())),
    Method {
        name: "Format",
        parameters: &[Kind::Text],
        body: |at, arguments| Value::text(format(at, arguments)),
    },
    plain("Hour", |at, _| Value::Int(at.parts().hour().into())),
    plain("Minute", |at, _| Value::Int(at.parts().minute().into())),
    plain("Month", |at, _| Value::text(MONTHS[month(at)])),
    plain("Second", |at, _| Value::Int(at.parts().second().into())),
    plain("String", |at, _| Value::text(at.shown())),
    plain("UTC", |at, _| Value::Time(at)),
    plain("Unix", |at, _| Value::Int(at.0.0.div_euclid(1000))),
    plain("UnixMilli", |at, _| Value::Int(at.0.0)),
    plain("Weekday", |at, _| Value::text(WEEKDAYS[weekday(at)])),
    plain("Year", |at, _| Value::Int(at.parts().year().into())),
    plain("YearDay", |at, _| Value::Int(at.parts().day_of_year().into())),
];

pub(super) fn method(name: &str) -> Option<&'static Method> {
    METHODS.iter().find(|method| method.name == name)
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn month(at: Moment) -> usize {
    usize::try_from(at.parts().month() - 1).unwrap_or(0).min(11)
}

fn weekday(at: Moment) -> usize {
    usize::try_from(at.parts().weekday().to_sunday_zero_offset()).unwrap_or(0).min(6)
}

/// The elements of Go's layouts, longer ones first where one begins another.
const ELEMENTS: [&str; 31] = [
    "January", "Jan", "Monday", "Mon", "MST", "2006", "Z07:00", "Z0700", "-07:00", "-0700", "-07", "01",
    "02", "002", "03", "04", "05", "06", "15", "_2", "PM", "pm", ".000", ".00", ".0", ".999", "1", "2", "3",
    "4", "5",
];

/// A moment in a Go layout, such as `2006-01-02 15:04:05`.
fn format(at: Moment, arguments: &[Value]) -> String {
    let Some(Value::Text(layout)) = arguments.first() else { return String::new() };
    let mut text = String::new();
    let mut rest: &str = layout;
    while let Some(c) = rest.chars().next() {
        // `002` is the day of the year, which `02` would cut.
        let found = match rest.starts_with("002") {
            true => Some("002"),
            false => ELEMENTS.into_iter().find(|element| rest.starts_with(element)),
        };
        match found {
            Some(element) => {
                text += &shown(at, element);
                rest = &rest[element.len()..];
            }
            None => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    text
}

fn shown(at: Moment, element: &str) -> String {
    let parts = at.parts();
    let hour = match parts.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let millis = format!(".{:03}", at.0.0.rem_euclid(1000));
    match element {
        "January" => MONTHS[month(at)].to_string(),
        "Jan" => MONTHS[month(at)][..3].to_string(),
        "Monday" => WEEKDAYS[weekday(at)].to_string(),
        "Mon" => WEEKDAYS[weekday(at)][..3].to_string(),
        "MST" => "UTC".to_string(),
        "2006" => format!("{:04}", parts.year()),
        "06" => format!("{:02}", parts.year().rem_euclid(100)),
        "Z07:00" | "Z0700" => "Z".to_string(),
        "-07:00" => "+00:00".to_string(),
        "-0700" => "+0000".to_string(),
        "-07" => "+00".to_string(),
        "01" => format!("{:02}", parts.month()),
        "1" => parts.month().to_string(),
        "02" => format!("{:02}", parts.day()),
        "_2" => format!("{:2}", parts.day()),
        "2" => parts.day().to_string(),
        "002" => format!("{:03}", parts.day_of_year()),
        "15" => format!("{:02}", parts.hour()),
        "03" => format!("{hour:02}"),
        "3" => hour.to_string(),
        "04" => format!("{:02}", parts.minute()),
        "4" => parts.minute().to_string(),
        "05" => format!("{:02}", parts.second()),
        "5" => parts.second().to_string(),
        "PM" => if parts.hour() >= 12 { "PM" } else { "AM" }.to_string(),
        "pm" => if parts.hour() >= 12 { "pm" } else { "am" }.to_string(),
        ".000" => millis,
        ".00" => millis[..3].to_string(),
        ".0" => millis[..2].to_string(),
        _ => millis.trim_end_matches('0').trim_end_matches('.').to_string(),
    }
}
