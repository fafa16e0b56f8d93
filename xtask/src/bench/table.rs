//! Samples, rows and verdicts.

use serde_json::{Value, json};

/// What was measured, in the order it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn one(value: f64) -> Self {
        Self(vec![value])
    }

    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The differences, pair by pair.
    pub(super) fn minus(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(one, other)| one - other).collect())
    }

    /// The middle one; between two, their mean. Not a number when there are none.
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { at(middle) } else { f64::midpoint(at(middle.wrapping_sub(1)), at(middle)) }
    }

    fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }
}

/// How much is promised.
#[derive(Debug, Clone, Copy)]
enum Limit {
    AtMost(f64),
    Below(f64),
}

/// One line.
#[derive(Debug, Clone)]
pub(super) struct Row {
    name: String,
    what: String,
    unit: &'static str,
    samples: Samples,
    limit: Option<Limit>,
    /// The median of what it is compared with.
    baseline: Option<f64>,
}

impl Row {
    pub(super) fn new(
        name: impl Into<String>,
        what: impl Into<String>,
        unit: &'static str,
        samples: &Samples,
    ) -> Self {
        Self {
            name: name.into(),
            what: what.into(),
            unit,
            samples: samples.clone(),
            limit: None,
            baseline: None,
        }
    }

    pub(super) fn at_most(self, limit: f64) -> Self {
        Self { limit: Some(Limit::AtMost(limit)), ..self }
    }

    pub(super) fn below(self, limit: f64) -> Self {
        Self { limit: Some(Limit::Below(limit)), ..self }
    }

    pub(super) fn beside(self, baseline: &Samples) -> Self {
        Self { baseline: Some(baseline.median()), ..self }
    }

    fn ratio(&self) -> Option<f64> {
        self.baseline.map(|baseline| self.samples.median() / baseline)
    }

    /// Whether the promise is kept; `None` where there is none. No samples keep no promise.
    fn kept(&self) -> Option<bool> {
        let median = self.samples.median();
        self.limit.map(|limit| match limit {
            Limit::AtMost(limit) => median <= limit,
            Limit::Below(limit) => median < limit,
        })
    }

    fn cells(&self) -> [String; 7] {
        let number = |value: f64| format!("{value:.2}");
        let limit = match self.limit {
            Some(Limit::AtMost(limit)) => format!("≤ {limit} {}", self.unit),
            Some(Limit::Below(limit)) => format!("< {limit} {}", self.unit),
            None => self.ratio().map_or_else(String::new, |ratio| format!("× {ratio:.2}")),
        };
        let verdict = match self.kept() {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "",
        };
        [
            self.what.clone(),
            number(self.samples.median()),
            number(self.samples.min()),
            number(self.samples.max()),
            self.samples.0.len().to_string(),
            limit.trim_end().to_owned(),
            verdict.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let (relation, limit) = match self.limit {
            Some(Limit::AtMost(limit)) => (Some("at_most"), Some(limit)),
            Some(Limit::Below(limit)) => (Some("below"), Some(limit)),
            None => (None, None),
        };
        json!({
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "median": self.samples.median(),
            "min": self.samples.min(),
            "max": self.samples.max(),
            "count": self.samples.0.len(),
            "ratio": self.ratio(),
            "relation": relation,
            "limit": limit,
            "kept": self.kept(),
        })
    }
}

/// All lines.
pub(super) struct Table(pub(super) Vec<Row>);

impl Table {
    pub(super) fn text(&self) -> String {
        let headings = ["", "median", "min", "max", "count", "promised", ""].map(str::to_owned);
        let lines: Vec<[String; 7]> =
            std::iter::once(headings).chain(self.0.iter().map(Row::cells)).collect();
        let mut widths = [0_usize; 7];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for line in &lines {
            let mut row = String::new();
            for (index, (cell, width)) in line.iter().zip(widths).enumerate() {
                let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
                // Numbers end in one column.
                let (before, after) =
                    if (1..=4).contains(&index) { (padding, "".into()) } else { ("".into(), padding) };
                row.push_str(&format!("{before}{cell}{after}  "));
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self) -> Vec<Value> {
        self.0.iter().map(Row::json).collect()
    }

    pub(super) fn missed(&self) -> usize {
        self.0.iter().filter(|row| row.kept() == Some(false)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(samples(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(samples(&[]).median().is_nan());
        assert_eq!(samples(&[3.0, 5.0]).minus(&samples(&[1.0, 1.5])), samples(&[2.0, 3.5]));
    }

    #[test]
    fn a_limit_is_kept_or_missed() {
        let row = |value| Row::new("a", "a", "ms", &Samples::one(value));
        assert_eq!(row(1.0).kept(), None);
        assert_eq!(row(1.0).at_most(1.0).kept(), Some(true));
        assert_eq!(row(1.0).below(1.0).kept(), Some(false));
        assert_eq!(row(f64::NAN).at_most(1.0).kept(), Some(false));
        assert_eq!(Table(vec![row(1.0), row(2.0).below(1.0)]).missed(), 1);
    }
}
