//! Cron schedules of Workers and the expressions in them, as Cloudflare reads them: five fields in UTC, weekdays from
//! 1 (Sunday) to 7, names of months and weekdays, and `L`, `W` and `#`. Pure.

use serde::{Deserialize, Serialize};

use super::account::{Account, Plan};
use super::clock;
use super::failure::ApiFailure;
use super::upload::no_subdomain;

/// One schedule of a Worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The expression as it was sent.
    pub cron: String,
    /// When the Worker got it.
    pub created_on: String,
    /// When it was last sent.
    pub modified_on: String,
}

impl Account {
    /// Makes these the only schedules of a Worker.
    pub fn set_schedules(
        &mut self,
        script: &str,
        crons: &[String],
        now: &str,
    ) -> Result<&[Schedule], ApiFailure> {
        let former = match self.scripts.get(script) {
            Some(script) => script.schedules.clone(),
            None => return Err(ApiFailure::no_worker()),
        };
        if self.subdomain.is_none() {
            return Err(no_subdomain());
        }
        let mut schedules: Vec<Schedule> = Vec::new();
        for cron in crons {
            Cron::parse(cron).ok_or_else(|| ApiFailure::refused(10100, "invalid cron string"))?;
            if schedules.iter().any(|other| other.cron == *cron) {
                continue;
            }
            let before = former.iter().find(|other| other.cron == *cron);
            schedules.push(Schedule {
                cron: cron.clone(),
                created_on: before.map_or(now, |before| &before.created_on).to_owned(),
                modified_on: now.into(),
            });
        }
        let limit = if self.plan == Plan::Free { 5 } else { 250 };
        let others = self.scripts.iter().filter(|(name, _)| *name != script);
        let others: usize = others.map(|(_, other)| other.schedules.len()).sum();
        if others + schedules.len() > limit {
            return Err(ApiFailure::refused(
                10072,
                format!("Exceeded limit of {limit} cron triggers"),
            ));
        }
        let script = self.scripts.get_mut(script).expect("looked up above");
        script.schedules = schedules;
        Ok(&script.schedules)
    }

    /// Every Worker and expression that is due in the minute that begins at a number of seconds since 1970.
    pub fn due(&self, seconds: u64) -> Vec<(String, String)> {
        let minute = Minute::at(seconds);
        self.scripts
            .iter()
            .flat_map(|(name, script)| script.schedules.iter().map(move |s| (name, &s.cron)))
            .filter(|(_, cron)| Cron::parse(cron).is_some_and(|cron| cron.contains(&minute)))
            .map(|(name, cron)| (name.clone(), cron.clone()))
            .collect()
    }
}

/// A cron expression. Each list of values is a set of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    weekdays: Days,
}

/// The two fields that speak about days.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Days {
    /// Whether the field is `*`, which leaves the choice to the other one.
    any: bool,
    set: u64,
    special: Vec<Special>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Special {
    /// `L` or `L-3`: so many days before the last one of the month.
    FromLast(u32),
    /// `15W`: the weekday nearest to a day.
    Nearest(u32),
    /// `LW`: the last weekday (Monday to Friday) of the month.
    LastWorkday,
    /// `6L`: the last such weekday of the month.
    LastOf(u32),
    /// `2#1`: the first such weekday of the month.
    Nth(u32, u32),
}

const MONTHS: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    /// Reads an expression, or nothing if Cloudflare would refuse it.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return None;
        };
        Some(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: days_field(days, 31, &[], special_day)?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: days_field(weekdays, 7, &WEEKDAYS, special_weekday)?,
        })
    }

    /// Whether the expression names a minute.
    pub fn contains(&self, at: &Minute) -> bool {
        let has = |set: u64, value: u32| set >> value & 1 == 1;
        let day = has(self.days.set, at.day) || self.days.special.iter().any(|s| at.is(s));
        let weekday =
            has(self.weekdays.set, at.weekday) || self.weekdays.special.iter().any(|s| at.is(s));
        let date = match (self.days.any, self.weekdays.any) {
            (true, _) => weekday,
            (_, true) => day,
            (false, false) => day || weekday,
        };
        has(self.minutes, at.minute)
            && has(self.hours, at.hour)
            && has(self.months, at.month)
            && date
    }
}

/// A comma list of values, ranges and steps.
fn field(text: &str, first: u32, last: u32, names: &[&str]) -> Option<u64> {
    text.split(',')
        .try_fold(0, |set, part| Some(set | range(part, first, last, names)?))
}

fn days_field(
    text: &str,
    last: u32,
    names: &[&str],
    special: fn(&str) -> Option<Special>,
) -> Option<Days> {
    let mut days = Days {
        any: text == "*",
        ..Days::default()
    };
    for part in text.split(',') {
        match special(&part.to_ascii_uppercase()) {
            Some(found) => days.special.push(found),
            None => days.set |= range(part, 1, last, names)?,
        }
    }
    Some(days)
}

/// `*`, `5`, `2-6`, each with `/2` behind it or not.
fn range(text: &str, first: u32, last: u32, names: &[&str]) -> Option<u64> {
    let (span, step) = match text.split_once('/') {
        Some((span, step)) => (
            span,
            Some(number(step).filter(|step| (1..=last).contains(step))?),
        ),
        None => (text, None),
    };
    let value = |text: &str| {
        let named = names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text));
        let value = named.map(|at| at as u32 + first).or_else(|| number(text))?;
        (first..=last).contains(&value).then_some(value)
    };
    let (from, to) = match span.split_once('-') {
        _ if span == "*" => (first, last),
        Some((from, to)) => (value(from)?, value(to)?),
        // A value with a step goes on to the end.
        None => {
            let from = value(span)?;
            (from, if step.is_some() { last } else { from })
        }
    };
    if from > to {
        return None;
    }
    let step = step.unwrap_or(1) as usize;
    Some(
        (from..=to)
            .step_by(step)
            .fold(0, |set, value| set | 1 << value),
    )
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}

fn special_day(text: &str) -> Option<Special> {
    let day = |text: &str| number(text).filter(|day| (1..=31).contains(day));
    match text {
        "L" => Some(Special::FromLast(0)),
        "LW" => Some(Special::LastWorkday),
        _ => match text.strip_prefix("L-") {
            Some(before) => number(before)
                .filter(|n| (1..=30).contains(n))
                .map(Special::FromLast),
            None => text.strip_suffix('W').and_then(day).map(Special::Nearest),
        },
    }
}

fn special_weekday(text: &str) -> Option<Special> {
    let weekday = |text: &str| {
        let named = WEEKDAYS.iter().position(|name| *name == text);
        let value = named.map(|at| at as u32 + 1).or_else(|| number(text))?;
        (1..=7).contains(&value).then_some(value)
    };
    if text == "L" {
        return Some(Special::LastOf(7));
    }
    if let Some((day, nth)) = text.split_once('#') {
        let nth = number(nth).filter(|nth| (1..=5).contains(nth))?;
        return Some(Special::Nth(weekday(day)?, nth));
    }
    text.strip_suffix('L')
        .and_then(weekday)
        .map(Special::LastOf)
}

/// A minute in UTC.
#[derive(Clone, Copy, Debug)]
pub struct Minute {
    minute: u32,
    hour: u32,
    day: u32,
    month: u32,
    /// 1 is Sunday.
    weekday: u32,
    days_in_month: u32,
}

impl Minute {
    /// The minute that a number of seconds since 1970 is in.
    pub fn at(seconds: u64) -> Self {
        let days = seconds / 86_400;
        let (year, month, day) = clock::civil_date(days);
        // The first of the next month is at most 31 days after the first of this one.
        let first = days - (day - 1);
        let days_in_month = (28..=31)
            .find(|length| clock::civil_date(first + length).1 != month)
            .expect("no month has more than 31 days");
        debug_assert!(year >= 1970);
        Self {
            minute: (seconds / 60 % 60) as u32,
            hour: (seconds / 3600 % 24) as u32,
            day: day as u32,
            month: month as u32,
            weekday: ((days + 4) % 7 + 1) as u32,
            days_in_month: days_in_month as u32,
        }
    }

    fn is(&self, special: &Special) -> bool {
        let last = self.days_in_month;
        match *special {
            Special::FromLast(before) => self.day + before == last,
            Special::Nearest(day) => day <= last && self.day == self.workday_near(day),
            Special::LastWorkday => self.day == self.workday_near(last),
            Special::LastOf(weekday) => self.weekday == weekday && self.day + 7 > last,
            Special::Nth(weekday, nth) => self.weekday == weekday && (self.day - 1) / 7 + 1 == nth,
        }
    }

    /// The day from Monday to Friday nearest to a day, in the same month.
    fn workday_near(&self, day: u32) -> u32 {
        let weekday = (self.weekday - 1 + 35 + day - self.day) % 7 + 1;
        match weekday {
            7 if day == 1 => 3,
            7 => day - 1,
            1 if day == self.days_in_month => day - 2,
            1 => day + 1,
            _ => day,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-01 00:00 UTC, a Sunday, in days since 1970.
    const NOVEMBER: u64 = 20_758;

    fn days(cron: &str) -> Vec<u64> {
        let cron = Cron::parse(cron).expect("it is an expression");
        (1..=30)
            .filter(|day| cron.contains(&Minute::at((NOVEMBER + day - 1) * 86_400)))
            .collect()
    }

    #[test]
    fn expressions_name_the_days_that_cloudflare_documents() {
        for (cron, expected) in [
            (
                "0 0 * * 2-6",
                (2..=6)
                    .chain(9..=13)
                    .chain(16..=20)
                    .chain(23..=27)
                    .chain([30])
                    .collect(),
            ),
            ("0 0 * * mon", vec![2, 9, 16, 23, 30]),
            ("0 0 * * 1", vec![1, 8, 15, 22, 29]),
            ("0 0 L * *", vec![30]),
            ("0 0 L-2 * *", vec![28]),
            ("0 0 LW * *", vec![30]),
            ("0 0 1W * *", vec![2]),
            ("0 0 14W * *", vec![13]),
            ("0 0 * * 6L", vec![27]),
            ("0 0 * * 2#1", vec![2]),
            ("0 0 10,20-22 NOV *", vec![10, 20, 21, 22]),
            ("0 0 13 * FRI", vec![6, 13, 20, 27]),
            ("0 0 * 12 *", vec![]),
        ] {
            assert_eq!(days(cron), expected, "{cron}");
        }
    }

    #[test]
    fn expressions_name_minutes_and_hours() {
        let at = |hour: u64, minute: u64| Minute::at(NOVEMBER * 86_400 + hour * 3600 + minute * 60);
        for (cron, hour, minute, expected) in [
            ("*/5 * * * *", 3, 10, true),
            ("*/5 * * * *", 3, 11, false),
            ("0 17 * * sun", 17, 0, true),
            ("10-50/20 8-10 * * *", 9, 30, true),
            ("10-50/20 8-10 * * *", 9, 40, false),
            ("59 23 LW * *", 23, 59, false),
        ] {
            let parsed = Cron::parse(cron).expect("it is an expression");
            assert_eq!(parsed.contains(&at(hour, minute)), expected, "{cron}");
        }
    }

    #[test]
    fn what_cloudflare_refuses_is_no_expression() {
        for cron in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "0 22 * * 0",
            "* * * * 8",
            "5-2 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "* * * * 2#6",
            "* * 32W * *",
            "@daily",
            "1, * * * *",
            "+1 * * * *",
        ] {
            assert_eq!(Cron::parse(cron), None, "{cron}");
        }
    }
}
