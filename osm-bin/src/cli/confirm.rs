//! A question to whoever sits at the terminal, before something can't be undone.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Result, bail};

/// How often an answer that is none is asked for again.
const TRIES: usize = 3;

/// Asks; the answer is no unless it is yes.
///
/// # Errors
/// When nobody can answer, or no answer comes.
pub(super) fn confirm(question: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("{question} Nobody can answer here; use --force to mean yes");
    }
    ask(question, &mut stdin.lock(), &mut std::io::stderr())
}

fn ask(question: &str, answers: &mut dyn BufRead, questions: &mut dyn Write) -> Result<bool> {
    for _ in 0..TRIES {
        write!(questions, "{question} [y/N] ")?;
        questions.flush()?;
        let mut answer = String::new();
        if answers.read_line(&mut answer)? == 0 {
            break;
        }
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => return Ok(true),
            "n" | "no" | "" => return Ok(false),
            _ => writeln!(questions, "please answer y or n")?,
        }
    }
    bail!("no answer; nothing was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(answers: &str) -> Result<bool> {
        ask("Sure?", &mut answers.as_bytes(), &mut Vec::new())
    }

    #[test]
    fn only_yes_is_yes() {
        assert!(answered("y\n").unwrap());
        assert!(answered("what\nYES\n").unwrap());
        assert!(!answered("\n").unwrap());
        assert!(!answered("n\n").unwrap());
    }

    #[test]
    fn no_answer_does_nothing() {
        assert!(answered("").is_err());
        assert!(answered("a\nb\nc\ny\n").is_err());
    }
}
