//! Selectors: names, matchers, ranges, subqueries, `offset` and `@`.

use super::operand::plain;
use super::{Operand, ParseError, Parsed, Parser, deeper, types};
use crate::promql::ast::{At, Dialect, Expr, MatchOp, Matcher, Selector, Span, Subquery, TimeShift};
use crate::promql::lex::{Token, TokenKind};
use crate::promql::literal::{self, DurationFlaw};
use crate::promql::pattern;
use crate::store::METRIC_NAME;
use crate::time::Millis;
use std::sync::Arc;

/// Latest moment behind an `@`, ms from the epoch in both directions: the end of the year 9999.
const MOMENT_MS_MAX: f64 = 253_402_300_800_000.0;

/// What a matcher in braces is: a condition, or a metric's name in quotes.
enum Braced {
    Matcher(Matcher),
    Name(Arc<str>),
}

impl Parser<'_> {
    /// `name{matchers}`, either part optional.
    pub(super) fn selector(&mut self, name: Option<Token>) -> Parsed<Operand> {
        let first = self.peek();
        let mut head = first.span;
        let mut selected = name.map(|token| Arc::from(self.piece(token)));
        let mut matchers = Vec::new();
        if name.is_some() {
            self.next();
        }
        if self.peek().kind == TokenKind::LeftBrace {
            let open = self.next();
            let close = self.matchers(open, &mut selected, &mut matchers)?;
            head = head.to(close.span);
        }
        if name.is_some() {
            refuse_second_name(&matchers)?;
        } else {
            types::refuse_match_all(selected.as_deref(), &matchers, head)?;
            promote_name(&mut selected, &mut matchers);
        }
        let selector = Selector { name: selected, matchers, time: TimeShift::default(), head, span: head };
        Ok(plain(Expr::Selector(selector)))
    }

    /// The matchers up to the closing brace, which is returned.
    fn matchers(
        &mut self,
        open: Token,
        name: &mut Option<Arc<str>>,
        matchers: &mut Vec<Matcher>,
    ) -> Parsed<Token> {
        loop {
            if self.peek().kind == TokenKind::RightBrace {
                break;
            }
            if self.peek().kind == TokenKind::End {
                return Err(ParseError::new("`{` is never closed", open.span));
            }
            let place = self.peek().span;
            match self.matcher()? {
                Braced::Matcher(matcher) => matchers.push(matcher),
                Braced::Name(quoted) if quoted.is_empty() => {
                    return Err(ParseError::new("the metric has no name", place));
                }
                Braced::Name(quoted) if name.is_none() => *name = Some(quoted),
                Braced::Name(_) => return Err(twice_named(place)),
            }
            if self.take(TokenKind::Comma).is_none() {
                break;
            }
        }
        self.close(open, TokenKind::RightBrace, "`,` or `}`")
    }

    fn matcher(&mut self) -> Parsed<Braced> {
        let label = self.peek();
        let name: Arc<str> = match label.kind {
            TokenKind::Word => Arc::from(self.piece(label)),
            TokenKind::Text if self.options.dialect == Dialect::V3 => Arc::from(self.string(label)?.as_str()),
            TokenKind::Text => {
                let error = ParseError::new("a quoted name is of Prometheus 3", label.span);
                return Err(
                    error.hint("write the label without quotes; set the dialect to 3 if that is what runs")
                );
            }
            _ => return Err(self.unexpected("a label or `}`")),
        };
        self.next();
        let op = self.peek();
        let is_last = matches!(op.kind, TokenKind::Comma | TokenKind::RightBrace);
        if label.kind == TokenKind::Text && is_last {
            return Ok(Braced::Name(name));
        }
        if !matches!(op.kind, TokenKind::Equal | TokenKind::NotEqual | TokenKind::Match | TokenKind::NotMatch)
        {
            let error = self.unexpected("`=`, `!=`, `=~` or `!~`");
            return Err(match op.kind {
                TokenKind::DoubleEqual => error.hint("a label is compared with one `=`"),
                _ => error,
            });
        }
        self.next();
        let value = self.peek();
        if value.kind != TokenKind::Text {
            let error = self.unexpected("the value in quotes");
            return Err(match value.kind {
                TokenKind::Word | TokenKind::Number => {
                    error.hint(format!("write `\"{}\"`", self.piece(value)))
                }
                _ => error,
            });
        }
        self.next();
        let text = self.string(value)?;
        let op = self.match_op(op.kind, text, value)?;
        Ok(Braced::Matcher(Matcher { name, op, span: label.span.to(value.span) }))
    }

    fn match_op(&self, kind: TokenKind, text: String, place: Token) -> Parsed<MatchOp> {
        let regex = |text: &str| {
            pattern::anchored(text, self.options.dialect).map_err(|reason| {
                let error = ParseError::new(format!("not a regular expression: {reason}"), place.span);
                error.hint("Prometheus reads RE2, anchored at both ends")
            })
        };
        Ok(match kind {
            TokenKind::Equal => MatchOp::Equal(text),
            TokenKind::NotEqual => MatchOp::NotEqual(text),
            TokenKind::Match => MatchOp::Match(regex(&text)?, text),
            _ => MatchOp::NotMatch(regex(&text)?, text),
        })
    }

    /// `[5m]` behind a selector, or `[1h:5m]` behind a vector.
    pub(super) fn ranged(&mut self, operand: Operand) -> Parsed<Operand> {
        let open = self.next();
        let range = self.positive_duration(open)?;
        if self.take(TokenKind::Colon).is_some() {
            let step = match self.peek().kind {
                TokenKind::RightBracket => None,
                _ => Some(self.positive_duration(open)?),
            };
            let close = self.close(open, TokenKind::RightBracket, "`]`")?;
            return subquery(operand, range, step, open.span.to(close.span));
        }
        let close = self.close(open, TokenKind::RightBracket, "`:` or `]`")?;
        self.range(operand, range, open.span.to(close.span))
    }

    fn range(&self, operand: Operand, range: i64, window: Span) -> Parsed<Operand> {
        let shown = literal::show_duration(range);
        match operand.expr {
            Expr::Selector(selector) if !operand.in_parentheses => {
                if selector.time != TimeShift::default() {
                    let error = ParseError::new("the range must stand before `offset` and `@`", window);
                    let head = &self.text[selector.head.range()];
                    return Err(error.hint(format!("as in `{head}[{shown}] offset 5m`")));
                }
                let span = selector.span.to(window);
                Ok(plain(Expr::Range { selector: Selector { span, ..selector }, range, window }))
            }
            _ => {
                let error = ParseError::new("only a selector takes a range", window);
                Err(error.hint(format!(
                    "`[{shown}:]` makes a subquery, which evaluates the expression again and again"
                )))
            }
        }
    }

    /// `offset 5m`, also negative.
    pub(super) fn shifted(&mut self, mut operand: Operand) -> Parsed<Operand> {
        let keyword = self.next();
        let is_modern = literal::numbers_are_durations(self.options.dialect);
        let sign = match self.peek().kind {
            TokenKind::Minus => Some(-1),
            TokenKind::Plus if is_modern => Some(1),
            _ => None,
        };
        if sign.is_some() {
            self.next();
        }
        let token = self.peek();
        let offset = self.duration(keyword)?;
        if offset == 0 && !is_modern {
            return Err(ParseError::new("the offset is zero", token.span).hint("remove it"));
        }
        let place = keyword.span.to(token.span);
        let time = time_shift(&mut operand, place, "offset")?;
        if time.offset != 0 {
            return Err(ParseError::new("there is an `offset` already", place).hint("add them up"));
        }
        time.offset = offset * sign.unwrap_or(1);
        extend(&mut operand, place);
        Ok(operand)
    }

    /// `@ 1609746000`, `@ start()`, `@ end()`.
    pub(super) fn pinned(&mut self, mut operand: Operand) -> Parsed<Operand> {
        let keyword = self.next();
        let (at, end) = self.moment(keyword)?;
        let place = keyword.span.to(end);
        let time = time_shift(&mut operand, place, "@")?;
        if time.at.is_some() {
            return Err(ParseError::new("there is an `@` already", place).hint("keep one"));
        }
        time.at = Some(at);
        extend(&mut operand, place);
        Ok(operand)
    }

    fn moment(&mut self, keyword: Token) -> Parsed<(At, Span)> {
        self.expect_operand(keyword)?;
        let word = self.peek();
        for (name, at) in [("start", At::Start), ("end", At::End)] {
            if self.is_keyword(word, name) {
                self.next();
                self.take(TokenKind::LeftParen).ok_or_else(|| self.unexpected("`()`"))?;
                let close = self.take(TokenKind::RightParen).ok_or_else(|| self.unexpected("`)`"))?;
                return Ok((at, close.span));
            }
        }
        let sign = match self.peek().kind {
            TokenKind::Minus => -1.0,
            _ => 1.0,
        };
        if matches!(self.peek().kind, TokenKind::Plus | TokenKind::Minus) {
            self.next();
        }
        let token = self.peek();
        let is_number =
            token.kind == TokenKind::Number || self.is_keyword(token, "inf") || self.is_keyword(token, "nan");
        let seconds = match token.kind {
            _ if is_number => self.number(token)?,
            TokenKind::Duration if literal::numbers_are_durations(self.options.dialect) => {
                self.duration_of(token)? as f64 / 1000.0
            }
            _ => return Err(self.unexpected("seconds since 1970, `start()` or `end()`")),
        };
        self.next();
        let millis = (sign * seconds * 1000.0).round();
        if millis.is_nan() || millis.abs() > MOMENT_MS_MAX {
            return Err(ParseError::new("the moment is out of range", token.span)
                .hint("seconds since 1970, not milliseconds"));
        }
        Ok((At::Moment(Millis(millis as i64)), token.span))
    }

    /// A duration above zero, ms.
    fn positive_duration(&mut self, before: Token) -> Parsed<i64> {
        let token = self.peek();
        match self.duration(before)? {
            0 => Err(ParseError::new("a range or step must be at least 1ms", token.span)),
            millis => Ok(millis),
        }
    }

    /// A duration, ms; in dialect 3 a number of seconds is one too.
    fn duration(&mut self, before: Token) -> Parsed<i64> {
        self.expect_operand(before)?;
        let token = self.peek();
        let piece = self.piece(token);
        let is_number =
            token.kind == TokenKind::Number || self.is_keyword(token, "inf") || self.is_keyword(token, "nan");
        let millis = match token.kind {
            TokenKind::Duration => self.duration_of(token)?,
            _ if is_number && literal::numbers_are_durations(self.options.dialect) => {
                literal::seconds(self.number(token)?).map_err(|_| too_long(piece, token.span))?
            }
            _ if is_number => {
                let error = ParseError::new(format!("`{piece}` is not a duration"), token.span);
                let has_digits = piece.bytes().all(|b| b.is_ascii_digit());
                return Err(match has_digits {
                    true => error.hint(format!("write `{piece}s`, `{piece}m` or `{piece}h`")),
                    false => error.hint("whole numbers with `y w d h m s ms`, as in `1h30m`"),
                });
            }
            _ => return Err(self.unexpected("a duration, such as `5m`")),
        };
        self.next();
        self.refuse_arithmetic(token)?;
        Ok(millis)
    }

    /// The value of a duration token, ms.
    pub(super) fn duration_of(&self, token: Token) -> Parsed<i64> {
        let piece = self.piece(token);
        literal::duration(piece).map_err(|flaw| match flaw {
            DurationFlaw::TooLong => too_long(piece, token.span),
            DurationFlaw::Form => ParseError::new(format!("`{piece}` is not a duration"), token.span)
                .hint("whole numbers with `y w d h m s ms`, larger units first, each once: `1h30m`"),
        })
    }

    /// Errors: a calculation with durations inside brackets.
    fn refuse_arithmetic(&self, duration: Token) -> Parsed<()> {
        use TokenKind::{Caret, Minus, Percent, Plus, Slash, Star};
        let op = self.peek();
        let is_inside = self.tokens[..self.at].iter().rev().find_map(|token| match token.kind {
            TokenKind::LeftBracket => Some(true),
            TokenKind::RightBracket => Some(false),
            _ => None,
        });
        if is_inside == Some(true) && matches!(op.kind, Plus | Minus | Star | Slash | Percent | Caret) {
            let error = ParseError::new(
                "calculating with durations is experimental in Prometheus",
                duration.span.to(op.span),
            );
            return Err(error.hint("write the result"));
        }
        Ok(())
    }

    /// Errors: `anchored` or `smoothed` behind a selector.
    pub(super) fn refuse_range_modifier(&self, token: Token) -> Parsed<()> {
        for modifier in ["anchored", "smoothed"] {
            if self.is_keyword(token, modifier) {
                let error =
                    ParseError::new(format!("`{modifier}` is experimental in Prometheus"), token.span);
                return Err(error.hint("remove it: `rate` and `increase` extrapolate to the window's ends"));
            }
        }
        Ok(())
    }
}

fn too_long(piece: &str, place: Span) -> ParseError {
    ParseError::new(format!("the duration `{piece}` is too long"), place).hint("at most 292 years")
}

fn subquery(operand: Operand, range: i64, step: Option<i64>, window: Span) -> Parsed<Operand> {
    types::expect_vector(&operand, "a subquery")?;
    let span = operand.outer.to(window);
    let depth = deeper(operand.depth, window)?;
    let subquery = Subquery { expr: operand.expr, range, step, time: TimeShift::default(), window, span };
    Ok(Operand { depth, ..plain(Expr::Subquery(Box::new(subquery))) })
}

/// The time of what takes `offset` and `@`. Errors: this takes none.
fn time_shift<'o>(operand: &'o mut Operand, place: Span, modifier: &str) -> Parsed<&'o mut TimeShift> {
    match &mut operand.expr {
        Expr::Selector(selector) | Expr::Range { selector, .. } if !operand.in_parentheses => {
            Ok(&mut selector.time)
        }
        Expr::Subquery(subquery) if !operand.in_parentheses => Ok(&mut subquery.time),
        _ => {
            let error = ParseError::new(format!("only a selector or subquery takes `{modifier}`"), place);
            Err(error.hint("write it directly behind the selector, inside the parentheses"))
        }
    }
}

fn extend(operand: &mut Operand, place: Span) {
    match &mut operand.expr {
        Expr::Selector(selector) | Expr::Range { selector, .. } => selector.span = selector.span.to(place),
        Expr::Subquery(subquery) => subquery.span = subquery.span.to(place),
        _ => {}
    }
    operand.outer = operand.outer.to(place);
}

fn twice_named(place: Span) -> ParseError {
    ParseError::new("the metric's name is given twice", place).hint("keep one")
}

/// Errors: a name before the braces, and a matcher for it inside.
fn refuse_second_name(matchers: &[Matcher]) -> Parsed<()> {
    match matchers.iter().find(|matcher| *matcher.name == *METRIC_NAME) {
        Some(second) => Err(twice_named(second.span)),
        None => Ok(()),
    }
}

/// Makes `{__name__="x"}` the selector's name, so that its series are found by it.
fn promote_name(name: &mut Option<Arc<str>>, matchers: &mut Vec<Matcher>) {
    let is_name = |matcher: &Matcher| matches!(&matcher.op, MatchOp::Equal(value) if *matcher.name == *METRIC_NAME && !value.is_empty());
    if name.is_none()
        && let Some(at) = matchers.iter().position(is_name)
        && let MatchOp::Equal(value) = matchers.remove(at).op
    {
        *name = Some(Arc::from(value.as_str()));
    }
}
