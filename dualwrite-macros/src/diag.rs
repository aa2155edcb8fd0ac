//! The error sink. Parts report what is wrong and carry on, so that one build shows every mistake of
//! an item; whoever finishes the sink gets the value only if nothing was reported.
//!
//! Messages are lower case without a final stop: what is wrong, then what to write instead. They
//! point at the smallest piece of source that the user can edit.

use std::fmt::Display;

use proc_macro2::Span;
use quote::ToTokens;

/// The mistakes found so far.
#[derive(Default)]
pub(crate) struct Errors {
    combined: Option<syn::Error>,
    count: usize,
}

impl Errors {
    /// Reports a mistake in these tokens.
    pub(crate) fn on(&mut self, tokens: &impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Reports a mistake of which it is clear what was meant: the part has not failed, so that nothing else is said
    /// about what it makes.
    pub(crate) fn on_and_go_on(&mut self, tokens: &impl ToTokens, message: impl Display) {
        self.on(tokens, message);
        self.count -= 1;
    }

    /// Reports a mistake at a place.
    pub(crate) fn at(&mut self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    fn push(&mut self, error: syn::Error) {
        self.count += 1;
        match &mut self.combined {
            Some(combined) => combined.combine(error),
            none => *none = Some(error),
        }
    }

    /// How many mistakes were reported: lets a part see whether *it* failed.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Gives the value if nothing was reported, else all mistakes as one error.
    pub(crate) fn into_result<T>(self, value: T) -> syn::Result<T> {
        match self.combined {
            None => Ok(value),
            Some(error) => Err(error),
        }
    }
}

/// "`a`, `b`": the words, as they are shown in messages.
pub(crate) fn list<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// ", did you mean `lazy`?" where a valid word is near enough, else nothing.
pub(crate) fn suggestion(word: &str, valid: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    nearest(word, valid)
        .map_or_else(String::new, |nearest| format!(", did you mean `{}`?", nearest.as_ref()))
}

/// The valid word that was meant, where one is near enough.
pub(crate) fn nearest<V: AsRef<str>>(word: &str, valid: impl IntoIterator<Item = V>) -> Option<V> {
    // A third of the letters wrong is a typo; more is another word, as is another single letter.
    let letters = word.chars().count();
    let near_enough = (letters / 3).max(1).min(letters.saturating_sub(1));
    valid
        .into_iter()
        .map(|candidate| (distance(word, candidate.as_ref()), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, nearest)| nearest)
}

/// Edits between two words, where swapping two neighbouring letters is one edit.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let differs = usize::from(from[i - 1] != to[j - 1]);
            let mut best =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + differs);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}
