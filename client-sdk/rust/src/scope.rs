//! Carries tokens from call to call, so that nobody has to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::Token;

/// A node takes no more.
const TOKENS_MAX: usize = 64;

/// The tokens of one user's or one job's doings: each call made with [`Client::scoped`](crate::Client::scoped) sees what the
/// calls before it saw, also when those went to another node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Scope(Arc<Mutex<Tokens>>);

#[derive(Debug, Default)]
struct Tokens {
    /// Came from elsewhere, and this node has not shown yet that it has seen them.
    owed: Vec<Token>,
    /// Came from elsewhere; this node has seen them.
    carried: Vec<Token>,
    /// Of writes made here, by the path of their object.
    written: BTreeMap<String, Token>,
}

impl Scope {
    /// A scope that goes on where another one, perhaps elsewhere, has stopped.
    #[must_use]
    pub fn new(tokens: impl IntoIterator<Item = Token>) -> Self {
        let owed = tokens.into_iter().take(TOKENS_MAX).collect();
        Self(Arc::new(Mutex::new(Tokens { owed, ..Tokens::default() })))
    }

    /// All that whoever goes on elsewhere needs.
    #[must_use]
    pub fn tokens(&self) -> Vec<Token> {
        let tokens = self.lock();
        tokens.owed.iter().chain(&tokens.carried).chain(tokens.written.values()).cloned().collect()
    }

    /// What a call has to send.
    pub(crate) fn before(&self) -> Vec<Token> {
        self.lock().owed.clone()
    }

    /// Takes note of an answer. `sent`: what [`before`](Self::before) gave. `stays`: whether what was called for is a write that
    /// has happened, which `token` names. An answer without a token has not looked at any object, and shows nothing of those
    /// that were sent.
    pub(crate) fn after(
        &self,
        object: &str,
        sent: &[Token],
        token: Option<&Token>,
        behind: bool,
        stays: bool,
    ) {
        let Some(token) = token else { return };
        let mut tokens = self.lock();
        if !behind {
            let (seen, owed) =
                std::mem::take(&mut tokens.owed).into_iter().partition(|token| sent.contains(token));
            tokens.owed = owed;
            tokens.carried.extend::<Vec<_>>(seen);
        }
        if stays {
            tokens.written.insert(object.to_owned(), token.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tokens> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
