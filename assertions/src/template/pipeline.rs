//! Pipelines, commands and operands: the inside of an action.

use super::lex::{Kind, Token};
use super::literal::{number, unquoted};
use super::parse::{Parsed, Parser, Purpose, fault};
use super::tree::{Command, Number, Pipeline, Word, WordKind};
use super::{Fault, functions};
use crate::promql::ast::Dialect;
use scenarios::problem::nearest;

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, purpose: Purpose, end: Kind) -> Parsed<Pipeline> {
        let start = self.peek_past_space().range.start;
        let mut pipeline =
            Pipeline { at: start, assigns: false, variables: Vec::new(), commands: Vec::new() };
        self.declarations(purpose, &mut pipeline)?;
        loop {
            let token = self.peek_past_space().clone();
            if token.kind == end {
                self.at += 1;
                self.check_pipeline(&pipeline, purpose, &token)?;
                return Ok(pipeline);
            }
            let command = self.command()?;
            pipeline.commands.push(command);
        }
    }

    /// `$x :=`, `$x =`, and `$index, $element :=` of a range.
    fn declarations(&mut self, purpose: Purpose, pipeline: &mut Pipeline) -> Parsed<()> {
        loop {
            let variable = self.peek_past_space().clone();
            if variable.kind != Kind::Variable {
                return Ok(());
            }
            let start = self.at;
            self.at += 1;
            let next = self.peek_past_space().clone();
            let is_last = matches!(next.kind, Kind::Assign | Kind::Declare);
            if !is_last && next.kind != Kind::Comma {
                self.at = start;
                return Ok(());
            }
            self.at += 1;
            let name = self.written(&variable).to_string();
            pipeline.variables.push(name.clone());
            self.variables.push(name);
            if is_last {
                pipeline.assigns = next.kind == Kind::Assign;
                return Ok(());
            }
            if purpose != Purpose::Range || pipeline.variables.len() > 1 {
                return fault("too many variables before `:=`", variable.range);
            }
            if self.peek_past_space().kind != Kind::Variable {
                return fault("`range` can only declare variables here", self.peek().range.clone());
            }
        }
    }

    fn check_pipeline(&self, pipeline: &Pipeline, purpose: Purpose, end: &Token) -> Parsed<()> {
        if pipeline.commands.is_empty() {
            let what = match purpose {
                Purpose::Action => "an action",
                Purpose::Parentheses => "a pair of parentheses",
                Purpose::Range => "`range`",
                Purpose::Condition => "a condition",
                Purpose::Argument => "`template`",
            };
            return fault(format!("{what} without a value"), end.range.clone());
        }
        for command in &pipeline.commands[1..] {
            let Some(first) = command.words.first() else { continue };
            let literal = matches!(
                first.kind,
                WordKind::Bool(_) | WordKind::Dot | WordKind::Nil | WordKind::Number(_) | WordKind::Text(..)
            );
            if literal {
                let summary = format!("`{first}` cannot take what is piped into it");
                return fault(summary, first.at..first.at + first.to_string().len());
            }
        }
        Ok(())
    }

    fn command(&mut self) -> Parsed<Command> {
        let at = self.peek_past_space().range.start;
        let mut words = Vec::new();
        loop {
            self.peek_past_space();
            words.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::Right | Kind::RightParen => self.at -= 1,
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "an action"),
            }
            if words.is_empty() {
                return fault("a function or a value is missing", token.range);
            }
            return Ok(Command { at, words });
        }
    }

    /// A term and the fields behind it.
    fn operand(&mut self) -> Parsed<Option<Word>> {
        let Some(mut word) = self.term()? else { return Ok(None) };
        let chain = self.peek().range.start;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            let token = self.next();
            fields.push(self.written(&token)[1..].to_string());
        }
        if fields.is_empty() {
            return Ok(Some(word));
        }
        let text = word.to_string();
        word.kind = match word.kind {
            WordKind::Field(mut first) => {
                first.extend(fields);
                WordKind::Field(first)
            }
            WordKind::Variable(name, _) => WordKind::Variable(name, fields),
            WordKind::Function(_) | WordKind::Pipeline(_) => {
                WordKind::Chain(Box::new(Word { at: word.at, kind: word.kind }), fields)
            }
            _ => return fault(format!("`{text}` has no fields"), chain..chain + 1),
        };
        word.at = chain;
        Ok(Some(word))
    }

    fn term(&mut self) -> Parsed<Option<Word>> {
        let token = self.peek().clone();
        let written = self.written(&token).to_string();
        let kind = match token.kind {
            Kind::Identifier => {
                self.check_function(&written, &token)?;
                WordKind::Function(written)
            }
            Kind::Dot => WordKind::Dot,
            Kind::Nil => WordKind::Nil,
            Kind::Bool => WordKind::Bool(written == "true"),
            Kind::Field => WordKind::Field(vec![written[1..].to_string()]),
            Kind::Variable => {
                self.check_variable(&written, &token)?;
                WordKind::Variable(written, Vec::new())
            }
            Kind::Number => WordKind::Number(self.number(&written, &token)?),
            Kind::Quoted => {
                let text = self.text_of(&token)?;
                WordKind::Text(written, text)
            }
            Kind::LeftParen => {
                self.at += 1;
                let pipeline = self.nested(|p| p.pipeline(Purpose::Parentheses, Kind::RightParen))?;
                return Ok(Some(Word { at: token.range.start, kind: WordKind::Pipeline(pipeline) }));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(Word { at: token.range.start, kind }))
    }

    fn check_function(&self, name: &str, token: &Token) -> Parsed<()> {
        if functions::find(name, self.dialect).is_some() {
            return Ok(());
        }
        let hint = match name {
            "tmpl" => {
                Some("`tmpl` is of console templates; rules have `{{ template \"name\" . }}`".to_string())
            }
            _ if functions::find(name, Dialect::V3).is_some() => {
                Some("it is of Prometheus 3; set the dialect to 3 if that is what runs".to_string())
            }
            _ => nearest(name, functions::names()).map(|near| format!("did you mean `{near}`?")),
        };
        let summary = format!("unknown function `{name}` in a template");
        Err(Fault { summary, range: token.range.clone(), hint })
    }

    fn check_variable(&self, name: &str, token: &Token) -> Parsed<()> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        let hint = match nearest(name, self.variables.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", self.variables.join(", ")),
        };
        let summary = format!("unknown variable `{name}` in a template");
        Err(Fault { summary, range: token.range.clone(), hint: Some(hint) })
    }

    fn number(&self, written: &str, token: &Token) -> Parsed<Number> {
        let number = number(written);
        number.map_or_else(|| fault(format!("`{written}` is not a number"), token.range.clone()), Ok)
    }

    pub(super) fn text_of(&self, token: &Token) -> Parsed<String> {
        let written = self.written(token);
        let text = unquoted(written);
        text.map_or_else(
            || fault(format!("{written} has an escape that Go does not know"), token.range.clone()),
            Ok,
        )
    }
}
