//! Calls of functions: their arguments, and whether they are of the kind that is asked for.

use super::functions::{self, Function, Kind};
use super::run::{Here, MADE_MAX, Run, Walked};
use super::tree::{Word, WordKind};
use super::value::Value;
use crate::promql::ast::Dialect;

impl<'t> Run<'t, '_> {
    pub(super) fn call(
        &mut self,
        name: &str,
        caller: Here<'t>,
        words: &'t [Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Walked<Value> {
        // What is not of this dialect was refused when the text was read.
        let Some(function) = functions::find(name, Dialect::V3) else {
            return self.error(format!("{name:?} is not a defined function"));
        };
        if matches!(name, "and" | "or") {
            return self.logic(function, words, dot, last);
        }
        let arguments = self.arguments(name, function.parameters, function.more, words, dot, last)?;
        match (function.body)(self.facts, &arguments) {
            Ok(value) => {
                if let Value::Text(text) = &value {
                    self.made += text.len();
                }
                if self.made > MADE_MAX {
                    return self.error(format!("its functions make more than {MADE_MAX} bytes"));
                }
                Ok(value)
            }
            Err(reason) => {
                self.here = caller;
                self.error(format!("error calling {name}: {reason}"))
            }
        }
    }

    fn check_count(&self, name: &str, least: usize, is_open: bool, given: usize) -> Walked<()> {
        match is_open {
            true if given < least => {
                self.error(format!("wrong number of args for {name}: want at least {least} got {given}"))
            }
            false if given != least => {
                self.error(format!("wrong number of args for {name}: want {least} got {given}"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn arguments(
        &mut self,
        name: &str,
        parameters: &[Kind],
        more: Option<Kind>,
        words: &'t [Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Walked<Vec<Value>> {
        let given = words.len() + usize::from(last.is_some());
        self.check_count(name, parameters.len(), more.is_some(), given)?;
        let kind = |index: usize| parameters.get(index).copied().or(more).unwrap_or(Kind::Any);
        let mut arguments = Vec::with_capacity(given);
        for (index, word) in words.iter().enumerate() {
            arguments.push(self.argument(word, kind(index), dot)?);
        }
        if let Some(last) = last {
            arguments.push(self.checked(last, kind(words.len()))?);
        }
        Ok(arguments)
    }

    /// `and` and `or` stop at the first argument that decides.
    fn logic(
        &mut self,
        function: &Function,
        words: &'t [Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Walked<Value> {
        let given = words.len() + usize::from(last.is_some());
        self.check_count(function.name, function.parameters.len(), true, given)?;
        let wanted = function.name == "or";
        let mut value = Value::Missing;
        for word in words {
            value = self.argument(word, Kind::Any, dot)?;
            if value.is_true() == wanted {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// The value of an argument that must be of a kind.
    pub(super) fn argument(&mut self, word: &'t Word, kind: Kind, dot: &Value) -> Walked<Value> {
        self.here = Here::Word(word);
        let value = match &word.kind {
            WordKind::Dot => dot.clone(),
            WordKind::Nil if kind == Kind::Text => {
                return self.error(format!("cannot assign nil to {}", kind.name()));
            }
            WordKind::Nil => Value::Nil,
            WordKind::Field(fields) => self.fields(dot.clone(), fields, &[], dot, None)?,
            WordKind::Variable(name, fields) => {
                let value = self.variable(name)?;
                self.fields(value, fields, &[], dot, None)?
            }
            WordKind::Pipeline(pipeline) => self.pipeline(pipeline, dot)?,
            WordKind::Function(name) => self.call(name, Here::Word(word), &[], dot, None)?,
            WordKind::Chain(inner, fields) => {
                let value = self.argument(inner, Kind::Any, dot)?;
                self.fields(value, fields, &[], dot, None)?
            }
            literal => return self.literal(word, literal, kind),
        };
        self.checked(value, kind)
    }

    fn literal(&self, word: &Word, literal: &WordKind, kind: Kind) -> Walked<Value> {
        match (literal, kind) {
            (WordKind::Text(_, text), Kind::Text | Kind::Any) => Ok(Value::text(text.as_str())),
            (_, Kind::Text) => self.error(format!("expected string; found {word}")),
            (_, Kind::Sample | Kind::Samples) => {
                self.error(format!("can't handle {word} for arg of type {}", kind.name()))
            }
            (WordKind::Bool(is_true), _) => Ok(Value::Bool(*is_true)),
            (WordKind::Number(number), _) => self.constant(number),
            _ => Ok(Value::Missing),
        }
    }

    fn checked(&self, value: Value, kind: Kind) -> Walked<Value> {
        let is_nothing = matches!(value, Value::Missing | Value::Nil);
        let fits = match kind {
            Kind::Any => true,
            Kind::Text => matches!(value, Value::Text(_)),
            Kind::Sample => is_nothing || matches!(value, Value::Sample(_)),
            Kind::Samples => is_nothing || matches!(value, Value::Samples(_)),
        };
        match (fits, &value) {
            (true, _) => Ok(value),
            (false, Value::Missing | Value::Nil) => {
                self.error(format!("invalid value; expected {}", kind.name()))
            }
            (false, _) => {
                let got = value.type_name();
                self.error(format!("wrong type for value; expected {}; got {got}", kind.name()))
            }
        }
    }
}
