//! Messages in the forms of others, and back.
