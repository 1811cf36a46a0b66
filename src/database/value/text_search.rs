//! `tsvector` and `tsquery` as the text of their output functions
//! (`src/backend/utils/adt/{tsvector,tsquery}.c`).

use super::ValueError;
use super::json::write_string;
use super::wire::Reader;

/// Appends a `tsvector`: `'a':1A,2 'b'`.
pub(super) fn write_vector(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "tsvector");
    let mut text = String::new();
    for index in 0..reader.count()? {
        if index > 0 {
            text.push(' ');
        }
        push_lexeme(reader.c_string()?, &mut text);
        for index in 0..reader.u16()? {
            // A position has 14 bits; the two above are its weight, where D is the one that isn't
            // shown.
            let entry = reader.u16()?;
            text.push(if index == 0 { ':' } else { ',' });
            text.push_str(itoa::Buffer::new().format(entry & 0x3fff));
            text.push_str(["", "C", "B", "A"][usize::from(entry >> 14)]);
        }
    }
    reader.end()?;
    write_string(&text, out);
    Ok(())
}

/// A lexeme in quotes; quotes and back slashes within it are doubled.
fn push_lexeme(lexeme: &str, text: &mut String) {
    text.push('\'');
    for character in lexeme.chars() {
        if matches!(character, '\'' | '\\') {
            text.push(character);
        }
        text.push(character);
    }
    text.push('\'');
}

/// A part of a query that is already text, with what its parent must know to put parentheses around
/// it.
struct Operand {
    text: String,
    priority: u8,
    is_phrase: bool,
}

const VALUE: u8 = 1;
const OPERATOR: u8 = 2;

/// One item of the wire's list.
enum Item<'a> {
    Value { lexeme: &'a str, weights: u8, prefix: bool },
    Not,
    Binary { priority: u8, symbol: Symbol },
}

enum Symbol {
    And,
    Or,
    Phrase(i16),
}

const OR_PRIORITY: u8 = 1;
const AND_PRIORITY: u8 = 2;
const PHRASE_PRIORITY: u8 = 3;
const NOT_PRIORITY: u8 = 4;
const VALUE_PRIORITY: u8 = 5;

/// Appends a `tsquery`: `'a' & !( 'b' | 'c' )`.
///
/// The wire holds the tree in prefix order with the right operand first. Read backwards that is
/// postfix order, which needs a stack but no recursion, however long the query is.
pub(super) fn write_query(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "tsquery");
    let mut items = Vec::new();
    for _ in 0..reader.count()? {
        items.push(read_item(&mut reader)?);
    }
    reader.end()?;
    let mut stack: Vec<Operand> = Vec::new();
    for item in items.into_iter().rev() {
        let operand = match item {
            Item::Value { lexeme, weights, prefix } => value(lexeme, weights, prefix),
            Item::Not => {
                let operand = stack.pop().ok_or_else(|| reader.malformed())?;
                let mut text = "!".to_owned();
                push_operand(&operand, operand.priority < NOT_PRIORITY, &mut text);
                Operand { text, priority: NOT_PRIORITY, is_phrase: false }
            }
            Item::Binary { priority, symbol } => {
                let right = stack.pop().ok_or_else(|| reader.malformed())?;
                let left = stack.pop().ok_or_else(|| reader.malformed())?;
                binary(left, &right, priority, &symbol)
            }
        };
        stack.push(operand);
    }
    let text = stack.pop().map(|operand| operand.text).unwrap_or_default();
    if !stack.is_empty() {
        return Err(reader.malformed());
    }
    write_string(&text, out);
    Ok(())
}

fn read_item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, ValueError> {
    let item = match reader.u8()? {
        VALUE => Item::Value { weights: reader.u8()?, prefix: reader.u8()? != 0, lexeme: reader.c_string()? },
        OPERATOR => match reader.u8()? {
            1 => Item::Not,
            2 => Item::Binary { priority: AND_PRIORITY, symbol: Symbol::And },
            3 => Item::Binary { priority: OR_PRIORITY, symbol: Symbol::Or },
            4 => Item::Binary { priority: PHRASE_PRIORITY, symbol: Symbol::Phrase(reader.i16()?) },
            _ => return Err(reader.malformed()),
        },
        _ => return Err(reader.malformed()),
    };
    Ok(item)
}

fn value(lexeme: &str, weights: u8, prefix: bool) -> Operand {
    let mut text = String::new();
    push_lexeme(lexeme, &mut text);
    if weights != 0 || prefix {
        text.push(':');
    }
    if prefix {
        text.push('*');
    }
    for (bit, letter) in [(8, 'A'), (4, 'B'), (2, 'C'), (1, 'D')] {
        if weights & bit != 0 {
            text.push(letter);
        }
    }
    Operand { text, priority: VALUE_PRIORITY, is_phrase: false }
}

/// Appends to the left operand's own text, so that a long chain costs one pass and not one per
/// operator.
fn binary(left: Operand, right: &Operand, priority: u8, symbol: &Symbol) -> Operand {
    let is_phrase = matches!(symbol, Symbol::Phrase(_));
    let mut text = if left.priority < priority {
        let mut text = String::new();
        push_operand(&left, true, &mut text);
        text
    } else {
        left.text
    };
    match symbol {
        Symbol::And => text.push_str(" & "),
        Symbol::Or => text.push_str(" | "),
        Symbol::Phrase(1) => text.push_str(" <-> "),
        Symbol::Phrase(distance) => {
            text.push_str(" <");
            text.push_str(itoa::Buffer::new().format(*distance));
            text.push_str("> ");
        }
    }
    // `<->` depends on its order, so that a phrase on its right keeps its parentheses.
    push_operand(right, right.priority < priority || (is_phrase && right.is_phrase), &mut text);
    Operand { text, priority, is_phrase }
}

fn push_operand(operand: &Operand, parentheses: bool, text: &mut String) {
    if parentheses {
        text.push_str("( ");
    }
    text.push_str(&operand.text);
    if parentheses {
        text.push_str(" )");
    }
}
