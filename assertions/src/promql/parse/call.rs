//! Function calls and aggregations, and the lists of labels that group.

use super::operand::plain;
use super::{Operand, ParseError, Parsed, Parser, deeper, foreign, types};
use crate::promql::ast::{Aggregate, AggregateOperator, Call, Dialect, Expr, Grouping, Kind, Span};
use crate::promql::function::{self, Absence, Function, Refusal};
use crate::promql::lex::{Token, TokenKind, is_plain_label};
use scenarios::problem::nearest;
use std::sync::Arc;

/// The aggregation of a name in small letters.
fn aggregate_operator(word: &str) -> Option<AggregateOperator> {
    AggregateOperator::ALL.into_iter().find(|op| op.name() == word)
}

impl Parser<'_> {
    /// Whether the word at hand, in small letters, begins an aggregation and is no metric's name.
    pub(super) fn begins_aggregate(&self, word: &str) -> bool {
        let is_new = matches!(word, "limitk" | "limit_ratio") && self.options.dialect == Dialect::V3;
        let next = self.peek_ahead(1);
        let goes_on = next.kind == TokenKind::LeftParen
            || self.is_keyword(next, "by")
            || self.is_keyword(next, "without");
        (is_new || aggregate_operator(word).is_some()) && goes_on
    }

    /// `sum by (a) (x)`, `sum(x) by (a)`, `topk(3, x)`.
    pub(super) fn aggregate(&mut self) -> Parsed<Operand> {
        let name = self.next();
        let word = self.piece(name).to_ascii_lowercase();
        let Some(op) = aggregate_operator(&word) else { return Err(self.no_function(name)) };
        let mut grouping = self.grouping()?;
        let (arguments, close) = self.arguments(name)?;
        let mut end = close;
        if let Some(behind) = self.grouping()? {
            if grouping.is_some() {
                return Err(
                    ParseError::new("the labels to group by are given twice", behind.1).hint("keep one")
                );
            }
            end = behind.1;
            grouping = Some(behind);
        }
        let nowhere = Span { start: name.span.end, end: name.span.end };
        let (grouping, grouping_span) = grouping.unwrap_or((Grouping::By(Vec::new()), nowhere));
        let span = name.span.to(end);
        let depth = deeper(arguments.iter().map(|argument| argument.depth).max().unwrap_or(0), name.span)?;
        let (parameter, expr) = types::aggregate(op, &word, name.span.to(close), arguments)?;
        let aggregate = Aggregate { op, expr, parameter, grouping, op_span: name.span, grouping_span, span };
        Ok(Operand { depth, ..plain(Expr::Aggregate(Box::new(aggregate))) })
    }

    /// `by (...)` or `without (...)`, if it is there.
    fn grouping(&mut self) -> Parsed<Option<(Grouping, Span)>> {
        let keyword = self.peek();
        let is_by = self.is_keyword(keyword, "by");
        if !is_by && !self.is_keyword(keyword, "without") {
            return Ok(None);
        }
        self.next();
        let (labels, end) = self.label_list(keyword)?;
        let grouping = if is_by { Grouping::By(labels) } else { Grouping::Without(labels) };
        Ok(Some((grouping, keyword.span.to(end))))
    }

    /// `(a, b)`: the labels, and the closing parenthesis.
    pub(super) fn label_list(&mut self, keyword: Token) -> Parsed<(Vec<Arc<str>>, Span)> {
        let Some(open) = self.take(TokenKind::LeftParen) else {
            let error = self.unexpected("`(`");
            let label = self.peek();
            return Err(match label.kind {
                TokenKind::Word => {
                    error.hint(format!("write `{} ({})`", self.piece(keyword), self.piece(label)))
                }
                _ => error,
            });
        };
        let mut labels = Vec::new();
        while self.peek().kind != TokenKind::RightParen {
            labels.push(self.label()?);
            if self.take(TokenKind::Comma).is_none() {
                break;
            }
        }
        let close = self.close(open, TokenKind::RightParen, "`,` or `)`")?;
        Ok((labels, close.span))
    }

    fn label(&mut self) -> Parsed<Arc<str>> {
        let token = self.peek();
        let is_modern = self.options.dialect == Dialect::V3;
        let label: Arc<str> = match token.kind {
            TokenKind::Word if !self.is_keyword(token, "inf") && !self.is_keyword(token, "nan") => {
                Arc::from(self.piece(token))
            }
            TokenKind::Text if is_modern => Arc::from(self.string(token)?.as_str()),
            TokenKind::Text => {
                let bare = self.string(token)?;
                let error = ParseError::new("a quoted label is of Prometheus 3", token.span);
                return Err(match is_plain_label(&bare) {
                    true => error.hint(format!("write `{bare}` without quotes")),
                    false => error.hint("set the dialect to 3 if that is what runs"),
                });
            }
            _ => return Err(self.unexpected("a label")),
        };
        if label.is_empty() {
            return Err(ParseError::new("the label has no name", token.span));
        }
        self.next();
        Ok(label)
    }

    /// `name(arguments)`.
    pub(super) fn call(&mut self) -> Parsed<Operand> {
        let name = self.next();
        let function = match function::find(self.piece(name), self.options.dialect, self.options.experimental)
        {
            Ok(function) => function,
            Err(refusal) => return Err(self.refused(name, refusal)),
        };
        let (arguments, close) = self.arguments(name)?;
        self.checked_call(function, name, arguments, name.span.to(close))
    }

    fn checked_call(
        &self,
        function: Function,
        name: Token,
        arguments: Vec<Operand>,
        span: Span,
    ) -> Parsed<Operand> {
        types::call(function.signature(), self.piece(name), span, &arguments)?;
        let depth = deeper(arguments.iter().map(|argument| argument.depth).max().unwrap_or(0), name.span)?;
        let arguments = arguments.into_iter().map(|argument| argument.expr).collect();
        let call = Call { function, arguments, name_span: name.span, span };
        Ok(Operand { depth, ..plain(Expr::Call(call)) })
    }

    /// The arguments in parentheses, and the closing one.
    fn arguments(&mut self, name: Token) -> Parsed<(Vec<Operand>, Span)> {
        let Some(open) = self.take(TokenKind::LeftParen) else {
            return Err(self.unexpected(&format!("the argument of `{}` in parentheses", self.piece(name))));
        };
        let mut arguments = Vec::new();
        while self.peek().kind != TokenKind::RightParen {
            if self.peek().kind == TokenKind::End {
                return Err(ParseError::new("`(` is never closed", open.span));
            }
            arguments.push(self.nested(name.span, |parser| parser.expr(0))?);
            match self.peek().kind {
                TokenKind::Comma => {
                    let comma = self.next();
                    if self.peek().kind == TokenKind::RightParen {
                        return Err(
                            ParseError::new("nothing follows the comma", comma.span).hint("remove it")
                        );
                    }
                }
                TokenKind::RightParen | TokenKind::End => break,
                _ => {
                    return Err(arguments
                        .last()
                        .map_or_else(|| self.unexpected("`)`"), |last| self.left_over(last)));
                }
            }
        }
        let close = self.close(open, TokenKind::RightParen, "`,` or `)`")?;
        Ok((arguments, close.span))
    }

    fn refused(&self, name: Token, refusal: Refusal) -> ParseError {
        let piece = self.piece(name);
        let error = |summary: String, hint: String| ParseError::new(summary, name.span).hint(hint);
        match refusal {
            Refusal::Unknown => self.no_function(name),
            Refusal::Absent(Absence::Native, instead) => error(
                format!("`{piece}` is of native histograms, which are not supported"),
                instead.to_string(),
            ),
            Refusal::Absent(Absence::Flag, instead) => {
                error(format!("`{piece}` is experimental in Prometheus"), instead.to_string())
            }
            Refusal::Experimental(instead) => error(
                format!("`{piece}` is experimental in Prometheus 3"),
                format!("it needs a flag of the server; {instead}"),
            ),
            Refusal::OtherName(name) => error(
                format!("`{piece}` is experimental in Prometheus 3 and does not exist in 2"),
                format!("in 2 it is called `{name}`"),
            ),
            Refusal::OtherDialect => {
                let hint = match self.options.dialect {
                    Dialect::V2 => "it is of Prometheus 3; set the dialect to 3 if that is what runs",
                    Dialect::V3 => {
                        "it is of Prometheus 2; set the dialect to 2 if that is what runs (3 calls it \
                         `double_exponential_smoothing`, behind a flag)"
                    }
                };
                error(format!("`{piece}` does not exist in this Prometheus"), hint.to_string())
            }
        }
    }

    /// The error of a name that is called and no function.
    fn no_function(&self, name: Token) -> ParseError {
        let piece = self.piece(name);
        let lower = piece.to_ascii_lowercase();
        if let Err(refusal @ Refusal::Absent(..)) = function::find(&lower, self.options.dialect, false) {
            return self.refused(name, refusal);
        }
        let error = ParseError::new(format!("unknown function `{piece}`"), name.span);
        if let Some(hint) = foreign::function(&lower) {
            return error.hint(hint);
        }
        // A misspelt keyword before a list of labels looks like a call.
        const KEYWORDS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
        let aggregations = AggregateOperator::ALL.map(AggregateOperator::name);
        match nearest(&lower, function::names().chain(aggregations).chain(KEYWORDS)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    }
}

/// How many parameters an aggregation takes before its vector, and of which kind.
pub(super) fn parameter_kind(op: AggregateOperator) -> Option<Kind> {
    match op {
        AggregateOperator::Topk | AggregateOperator::Bottomk | AggregateOperator::Quantile => {
            Some(Kind::Scalar)
        }
        AggregateOperator::CountValues => Some(Kind::Text),
        _ => None,
    }
}
