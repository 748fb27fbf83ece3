//! What the plugin answers, and how it keeps up.
